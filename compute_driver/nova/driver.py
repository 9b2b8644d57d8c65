# SPDX-License-Identifier: Apache-2.0
"""The class that nova-compute loads: each method a line or two.

What is not here raises NotImplementedError in nova's base class, as nova expects it of operations
that a driver does not have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import os_traits
from nova import exception
from nova.compute import power_state
from nova.console import type as ctype
from nova.objects import fields
from nova.virt import driver, event, hardware, node
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.drivers import loading
from compute_driver.guest import ConfigDrive
from compute_driver.info import GuestInfo
from compute_driver.nova import (
    accounts,
    configuration,
    consoles,
    convert,
    devices,
    diagnostics,
    host,
    images,
    metadata,
    network,
    placement,
    ports,
    rescues,
    resize,
    shared,
    snapshots,
)
from compute_driver.nova.errors import translated, unless_running

#: How much of a console's log nova shows, in bytes.
_CONSOLE_BYTES = 100 * 1024

_IMAGE_TYPES = ("aki", "ami", "ari", "iso", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk")

_POWER_STATES = {
    PowerState.RUNNING: power_state.RUNNING,
    PowerState.PAUSED: power_state.PAUSED,
    PowerState.SUSPENDED: power_state.SUSPENDED,
    PowerState.STOPPED: power_state.SHUTDOWN,
    PowerState.CRASHED: power_state.CRASHED,
}

_EVENTS = {
    PowerState.RUNNING: event.EVENT_LIFECYCLE_STARTED,
    PowerState.PAUSED: event.EVENT_LIFECYCLE_PAUSED,
    PowerState.SUSPENDED: event.EVENT_LIFECYCLE_SUSPENDED,
    PowerState.STOPPED: event.EVENT_LIFECYCLE_STOPPED,
    PowerState.CRASHED: event.EVENT_LIFECYCLE_STOPPED,
}


class NovaDriver(driver.ComputeDriver):
    """Runs nova's instances as guests of this package.

    :param virtapi: nova's VirtAPI.
    """

    capabilities: Mapping[str, bool] = {
        # Said of each: traits of those that a driver does not mention stay as another has set them.
        **dict.fromkeys(driver.CAPABILITY_TRAITS_MAP, False),
        **driver.ComputeDriver.capabilities,
        "has_imagecache": True,
        "supports_attach_interface": True,
        "supports_device_tagging": True,
        "supports_evacuate": True,
        "supports_migrate_to_same_host": True,
        "supports_tagged_attach_interface": True,
        "supports_trusted_certs": True,
        **{f"supports_image_type_{name}": True for name in _IMAGE_TYPES},
    }

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._conf: cfg.ConfigOpts = configuration.register()
        self._driver = loading.load_driver(self._conf)

    # The service

    @translated
    def init_host(self, host: str) -> None:
        """Begin to tell nova of guests that change their state."""
        secure_boot = any(
            "uefi with secure boot" in (info.firmware or ())
            for info in self._driver.host_show().architectures
        )
        self.capabilities = {**self.capabilities, "supports_secure_boot": secure_boot}
        snapshots.clear(self._conf)
        self._driver.subscribe(self._changed)

    def cleanup_host(self, host: str) -> None:
        """Let go of libvirt; the guests go on."""
        self._driver.close()

    def _changed(self, uuid: str, state: PowerState) -> None:
        self.emit_event(event.LifecycleEvent(uuid, _EVENTS[state]))

    # Instances

    @translated
    def get_info(self, instance: Any, use_cache: bool = True) -> hardware.InstanceInfo:
        """Return an instance's power state."""
        return hardware.InstanceInfo(state=_POWER_STATES[self._driver.state(instance.uuid)])

    @translated
    def list_instances(self) -> list[str]:
        """Return the names of all instances."""
        return [info.guest.name for info in self._driver.list()]

    @translated
    def list_instance_uuids(self) -> list[str]:
        """Return the UUIDs of all instances."""
        return [info.guest.uuid for info in self._driver.list()]

    @translated
    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: str | None,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Make an instance's guest and start it once its ports work."""
        vifs = network_info or ()
        drive = metadata.placeholder(instance, injected_files)
        guest = convert.guest(instance, image_meta, vifs, block_device_info, drive)

        def make_config_drive(info: GuestInfo) -> ConfigDrive | None:
            devices.update(context, instance, vifs, info.devices)
            return metadata.config_drive(instance, network_info, injected_files, admin_password)

        with images.requested_by(context, instance.trusted_certs):
            self._driver.spawn(
                guest,
                network=network.plugged(self.virtapi, instance, vifs if power_on else ()),
                power_on=power_on,
                make_config_drive=make_config_drive,
            )

    @translated
    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove an instance's guest with all that it owns, or all but its files."""
        self._driver.destroy(instance.uuid, keep_files=not destroy_disks)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove what is left of an instance."""
        self.destroy(context, instance, network_info, block_device_info, destroy_disks)

    @translated
    def delete_instance_files(self, instance: Any) -> bool:
        """Remove what is left of an instance that was deleted; tell whether all of it is gone."""
        self._driver.destroy(instance.uuid)
        return not self.instance_on_disk(instance)

    def instance_on_disk(self, instance: Any) -> bool:
        """Tell whether the instance's disks are here."""
        return self._directory(instance).exists()

    def _directory(self, instance: Any) -> Path:
        return Path(self._conf.hypervisor.instances_path, instance.uuid)

    def check_instance_shared_storage_local(
        self, context: Any, instance: Any
    ) -> dict[str, str] | None:
        """Make a file by which another host finds out whether it has the same disks."""
        return shared.mark(self._directory(instance))

    def check_instance_shared_storage_remote(self, context: Any, data: dict[str, str]) -> bool:
        """Tell whether the other host's file is here."""
        return shared.is_seen(data)

    def check_instance_shared_storage_cleanup(self, context: Any, data: dict[str, str]) -> None:
        """Remove that file."""
        shared.unmark(data)

    def default_root_device_name(self, instance: Any, image_meta: Any, root_bdm: Any) -> str:
        """Return what the guest is likely to call its root disk; nova goes on from there."""
        return convert.root_device_name(image_meta, root_bdm.disk_bus)

    # Copies of disks

    @translated
    def snapshot(
        self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., None]
    ) -> None:
        """Copy an instance's root disk into an image, while the instance goes on."""
        snapshots.upload(self._driver, self._conf, context, instance, image_id, update_task_state)

    # Rescue

    @translated
    def rescue(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        image_meta: Any,
        rescue_password: str,
        block_device_info: Mapping[str, Any],
        share_info: Any,
    ) -> None:
        """Boot another image on an instance that nova has shut down, with its disks attached."""
        guest = self._driver.show(instance.uuid).guest
        drive = metadata.config_drive(instance, network_info, (), rescue_password)
        wanted = rescues.rescue(self._conf, context, guest, image_meta, drive)
        with images.requested_by(context, instance.trusted_certs):
            self._driver.rescue(instance.uuid, wanted, timeout=0)

    @translated
    def unrescue(self, context: Any, instance: Any) -> None:
        """Boot an instance's own image again."""
        self._driver.unrescue(instance.uuid)

    # The guest's agent

    @translated
    def quiesce(self, context: Any, instance: Any, image_meta: Any) -> None:
        """Freeze an instance's file systems."""
        self._driver.quiesce(instance.uuid)

    @translated
    def unquiesce(self, context: Any, instance: Any, image_meta: Any) -> None:
        """Thaw an instance's file systems."""
        self._driver.unquiesce(instance.uuid)

    @translated
    def set_admin_password(self, instance: Any, new_pass: str) -> None:
        """Give the administrator of an instance another password."""
        user = accounts.administrator(instance)
        self._driver.set_password(instance.uuid, new_pass, user=user)
        accounts.publish(instance, new_pass)

    # Power

    @translated
    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Mapping[str, Any] | None = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Reboot an instance: hard as well if it does not run or does not answer."""
        running = self._driver.state(instance.uuid) is PowerState.RUNNING
        if reboot_type == "SOFT" and running:
            self._driver.reboot(instance.uuid, kind=RebootKind.SOFT)
        elif ports.follow(self._driver, instance, network_info):
            self._driver.start(instance.uuid)
        else:
            self._driver.reboot(instance.uuid, kind=RebootKind.HARD)

    def poll_rebooting_instances(self, timeout: float, instances: Any) -> None:
        """Do nothing: no reboot lasts for ever, as those that guests do not answer become hard."""

    @translated
    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Power an instance on."""
        ports.power_on(self._driver, instance, network_info)

    @translated
    def power_off(self, instance: Any, timeout: float = 0, retry_interval: float = 0) -> None:
        """Shut an instance down; after so many seconds, by force."""
        self._driver.stop(instance.uuid, timeout=timeout)

    @translated
    def pause(self, instance: Any) -> None:
        """Freeze an instance in memory."""
        self._driver.pause(instance.uuid)

    @translated
    def unpause(self, instance: Any) -> None:
        """Continue a paused instance."""
        self._driver.resume(instance.uuid)

    @translated
    def suspend(self, context: Any, instance: Any) -> None:
        """Save an instance's memory to disk and power it off."""
        self._driver.suspend(instance.uuid)

    @translated
    def resume(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        share_info: Any = None,
    ) -> None:
        """Continue a suspended instance."""
        self._driver.resume(instance.uuid)

    @translated
    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
    ) -> None:
        """Power on an instance that ran when the host went down."""
        ports.power_on(self._driver, instance, network_info)

    # Interfaces

    @translated
    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        """Give an instance a further port."""
        ports.attach(self._driver, context, instance, image_meta, vif)

    @translated
    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        """Take a port from an instance."""
        ports.detach(self._driver, context, instance, vif)

    # Resizing, on this host

    @translated
    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: Any,
        dest: str,
        flavor: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        timeout: float = 0,
        retry_interval: float = 0,
    ) -> str:
        """Refuse what cannot be, and shut the instance down; there is nothing to move."""
        resize.check(instance, flavor, dest, self.get_host_ip_addr())
        vifs, image = network_info or (), instance.image_meta
        now = self._driver.show(instance.uuid).guest
        with resize.refused():
            new = resize.guest(instance, flavor, image, vifs, block_device_info, None, now)
            self._driver.check_resize(instance.uuid, new)
        self._driver.stop(instance.uuid, timeout=timeout)
        return ""

    @translated
    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: Any,
        disk_info: str,
        network_info: Any,
        image_meta: Any,
        resize_instance: bool,
        allocations: Any,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Give an instance the size that its flavor now has."""
        now = self._driver.show(instance.uuid).guest
        drive = metadata.config_drive(instance, network_info)
        new = resize.guest(
            *(instance, instance.flavor, image_meta, network_info or (), block_device_info),
            *(drive, now),
        )
        self._driver.resize(instance.uuid, new, timeout=0, power_on=power_on)

    @translated
    def confirm_migration(
        self, context: Any, migration: Any, instance: Any, network_info: Any
    ) -> None:
        """Let go of what an instance was before."""
        self._driver.confirm_resize(instance.uuid)

    @translated
    def finish_revert_migration(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        migration: Any,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Make an instance what it was before; nova has removed the new guest, not its files."""
        self._driver.revert_resize(instance.uuid, timeout=0, power_on=False)
        if power_on:
            ports.power_on(self._driver, instance, network_info)

    @translated
    def trigger_crash_dump(self, instance: Any) -> None:
        """Interrupt an instance so that it writes a crash dump, if it is set up to."""
        with unless_running(exception.InstanceNotRunning, instance):
            self._driver.inject_nmi(instance.uuid)

    # Images

    @translated
    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Remove images that no guest has needed for long; guests' files tell, not nova's list."""
        if self._conf.image_cache.remove_unused_base_images:
            self._driver.image_prune()

    @translated
    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image for instances to come; tell whether it had to be fetched."""
        with images.requested_by(context):
            image, boot = images.described(context, image_id)
            return self._driver.image_cache(image, boot=boot)

    # Looking inside

    @translated
    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """Return the end of what the instance wrote on its serial console."""
        try:
            return self._driver.console_log(instance.uuid, max_bytes=_CONSOLE_BYTES)
        except exceptions.HostError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            log = Path(self._driver.show(instance.uuid).console)
            return consoles.last_bytes(log, _CONSOLE_BYTES)

    @translated
    def get_vnc_console(self, context: Any, instance: Any) -> ctype.ConsoleVNC:
        """Return where nova's proxy finds an instance's screen by VNC."""
        return consoles.vnc(self._driver, instance)

    @translated
    def get_spice_console(self, context: Any, instance: Any) -> ctype.ConsoleSpice:
        """Return where nova's proxy finds an instance's screen by SPICE."""
        return consoles.spice(self._driver, instance)

    @translated
    def get_serial_console(self, context: Any, instance: Any) -> ctype.ConsoleSerial:
        """Return where nova's proxy finds an instance's serial console."""
        return consoles.serial(self._driver, instance)

    @translated
    def get_diagnostics(self, instance: Any) -> dict[str, int]:
        """Return an instance's use of resources, in the old form."""
        return diagnostics.as_dict(*self._driver.stats(instance.uuid))

    @translated
    def get_instance_diagnostics(self, instance: Any) -> Any:
        """Return an instance's use of resources."""
        (stats,) = self._driver.stats(instance.uuid)
        guest = self._driver.show(instance.uuid).guest
        state = power_state.STATE_MAP[_POWER_STATES[stats.state]]
        return diagnostics.as_object(stats, guest, state)

    # The host

    @functools.cached_property
    def _nodename(self) -> str:
        return self._driver.host_show().hostname

    @translated
    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """Return the name of this host as libvirt knows it."""
        return [self._nodename]

    @translated
    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return what this host has and what is used of it."""
        vcpus = sum(info.guest.vcpus for info in self._driver.list())
        found = placement.resources(
            self._driver.host_show(), vcpus, host.uptime(), fields.Architecture.ALL
        )
        return {**found, "uuid": node.get_local_node_uuid()}

    @translated
    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        """Tell placement what this host has."""
        info = self._driver.host_show()
        data = provider_tree.data(nodename)
        ratios = self._get_allocation_ratios(data.inventory)
        reserved = {
            "VCPU": self._conf.reserved_host_cpus,
            "MEMORY_MB": self._conf.reserved_host_memory_mb,
            "DISK_GB": self._get_reserved_host_disk_gb_from_config(),
        }
        provider_tree.update_inventory(
            nodename, placement.inventory(placement.totals(info), reserved, ratios)
        )
        traits = placement.traits(info, os_traits.get_traits())
        provider_tree.add_traits(nodename, *traits)
        provider_tree.remove_traits(nodename, *placement.unfounded(data.traits, traits))

    @translated
    def get_host_uptime(self) -> str:
        """Return since when the host has been up, and its load."""
        return host.uptime()

    def get_host_cpu_stats(self) -> dict[str, int]:
        """Return what the host's processors spent their time on."""
        return host.cpu_stats()

    def get_host_ip_addr(self) -> str:
        """Return the host's address for its peers."""
        return str(self._conf.my_ip)
