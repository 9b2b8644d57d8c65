# SPDX-License-Identifier: Apache-2.0
"""Nova's options of groups other than ``[libvirt]`` that concern drivers.

Source: Nova, "Configuration options"; the readers of the options in nova.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compute_driver.choices import FileSystem
from compute_driver.nova.options.rules import (
    Rule,
    default_of,
    needless,
    of_nova,
    refused,
    warned,
    works,
)

_NUMA = "the driver has no NUMA topology, and refuses instances that ask for one"
_LIVE = "the driver has no live migration"
_NO_INJECTION = "the driver writes nothing into guests' disks"
_ENCRYPTED = "only for encrypted ephemeral disks, which are refused"
_PROXY = "the proxy"
_SHARED = "the processors of guests: the default of [hypervisor] guest_cpus"

_COMPUTE = {
    "consecutive_build_service_disable_threshold": of_nova(),
    "cpu_dedicated_set": refused("the driver has no dedicated processors", ""),
    "cpu_shared_set": default_of("guest_cpus"),
    "image_type_exclude_list": of_nova(),
    "live_migration_wait_for_vif_plug": needless(_LIVE),
    "max_concurrent_disk_ops": works("the number of images that are fetched at once"),
    "max_disk_devices_to_attach": warned("the driver does not count the disks of guests", "-1"),
    "packing_host_numa_cells_allocation_strategy": needless(_NUMA),
    "provider_config_location": of_nova(),
    "resource_provider_association_refresh": of_nova(),
    "sharing_providers_max_uuids_per_request": of_nova(),
    "shutdown_retry_interval": warned(
        "the driver asks a guest every 10 seconds to shut down", "10"
    ),
    "update_resources_max_workers": of_nova(),
    "vmdk_allowed_types": refused(
        "the driver accepts these types, and no others", "streamOptimized,monolithicSparse"
    ),
}

_PCI = {
    "alias": of_nova("nova-api"),
    "device_spec": warned("the driver reports no PCI devices, and refuses them in flavors", ""),
    "report_in_placement": needless("the driver reports no PCI devices"),
}

_DEVICES = {"enabled_mdev_types": warned("the driver has no mediated devices", "")}

_WORKAROUNDS = {
    "disable_compute_service_check_for_ffu": of_nova(),
    "disable_deep_image_inspection": warned("the driver inspects every image", "false"),
    "disable_fallback_pcpu_query": of_nova("nova-scheduler"),
    "disable_group_policy_check_upcall": of_nova(),
    "disable_libvirt_livesnapshot": needless("snapshots are backup jobs of the emulator"),
    "disable_rootwrap": of_nova(),
    "enable_numa_live_migration": needless(_LIVE),
    "enable_qemu_monitor_announce_self": needless(_LIVE),
    "ensure_libvirt_rbd_instance_dir_cleanup": needless("the driver has no RBD disks"),
    "handle_virt_lifecycle_events": of_nova(),
    "libvirt_disable_apic": refused("x86 guests have an APIC", "false"),
    "never_download_image_if_on_rbd": needless("the driver has no RBD disks"),
    "qemu_monitor_announce_self_count": needless(_LIVE),
    "qemu_monitor_announce_self_interval": needless(_LIVE),
    "reserve_disk_resource_for_image_cache": works("the reserved DISK_GB in placement"),
    "skip_cpu_compare_at_startup": needless("the driver compares no processors at its start"),
    "skip_cpu_compare_on_dest": needless(_LIVE),
    "skip_hypervisor_version_check_on_lm": of_nova("nova-conductor"),
    "skip_reserve_in_use_ironic_nodes": needless("only for Ironic"),
    "unified_limits_count_pcpu_as_vcpu": of_nova("nova-api"),
    "wait_for_vif_plugged_event_during_hard_reboot": works(
        "a hard reboot waits for neutron before the guest runs"
    ),
}

_VNC = {
    "auth_schemes": of_nova(_PROXY),
    "enabled": works("turns [hypervisor] vnc_listen on"),
    "novncproxy_base_url": of_nova(),
    "novncproxy_host": of_nova(_PROXY),
    "novncproxy_port": of_nova(_PROXY),
    "server_listen": default_of("vnc_listen"),
    "server_proxyclient_address": works("the proxy's address of the host"),
    "vencrypt_ca_certs": of_nova(_PROXY),
    "vencrypt_client_cert": of_nova(_PROXY),
    "vencrypt_client_key": of_nova(_PROXY),
}

_SPICE = {
    **{
        name: default_of(f"spice_{name}")
        for name in (
            *("agent_enabled", "image_compression", "jpeg_compression", "playback_compression"),
            *("require_secure", "streaming_mode", "zlib_compression"),
        )
    },
    "enabled": works("turns [hypervisor] spice_listen on"),
    "html5proxy_base_url": of_nova(),
    "html5proxy_host": of_nova(_PROXY),
    "html5proxy_port": of_nova(_PROXY),
    "server_listen": default_of("spice_listen"),
    "server_proxyclient_address": works("the proxy's address of the host"),
    "spice_direct_proxy_base_url": of_nova(),
}

_IMAGE_CACHE = {
    "manager_interval": of_nova(),
    "precache_concurrency": of_nova("nova-conductor"),
    "remove_unused_base_images": works("unused images are removed"),
    "remove_unused_original_minimum_age_seconds": default_of("image_unused_seconds"),
    "remove_unused_resized_minimum_age_seconds": needless("the driver keeps no resized images"),
    "subdirectory_name": default_of("image_cache_path"),
}

_SERIAL_CONSOLE = {
    "base_url": of_nova(),
    "enabled": works("turns [hypervisor] serial_listen on"),
    "port_range": default_of("serial_port_range"),
    "proxyclient_address": default_of("serial_listen"),
    "serialproxy_host": of_nova(_PROXY),
    "serialproxy_port": of_nova(_PROXY),
}

_EPHEMERAL_STORAGE_ENCRYPTION = {
    "cipher": needless(_ENCRYPTED),
    "default_format": needless(_ENCRYPTED),
    "enabled": refused("the driver does not encrypt ephemeral disks", "false"),
    "key_size": needless(_ENCRYPTED),
}

_DEFAULT = {
    "compute_driver": warned(
        "nova-compute loads another driver with this value", "compute_driver.NovaDriver", ""
    ),
    "config_drive_format": refused("config drives are ISO 9660 images", "iso9660"),
    "cpu_allocation_ratio": works("placement's inventory"),
    "default_ephemeral_format": works(
        "the file system of ephemeral disks without guest_format; unset, ext4",
        *("", *FileSystem),
        lack="the driver makes no other file systems",
    ),
    "disk_allocation_ratio": works("placement's inventory"),
    "flat_injected": works("the network's description in config drives"),
    "force_config_drive": works("every instance gets a config drive"),
    "force_raw_images": needless("the cache keeps images as qcow2 or raw files, and never guesses"),
    "host": of_nova(),
    "injected_network_template": needless(_NO_INJECTION),
    "instances_path": default_of("instances_path"),
    "live_migration_retry_count": needless(_LIVE),
    "mkisofs_cmd": needless("the driver makes config drives without a program"),
    "my_block_storage_ip": needless("the driver has no volumes"),
    "my_ip": works("the host's address"),
    "pointer_model": warned(
        "the pointer is a virtio tablet where the machine has one; image property hw_pointer_model"
        " and hw_input_bus choose another",
        "usbtablet",
    ),
    "preallocate_images": default_of("preallocate_disks"),
    "ram_allocation_ratio": works("placement's inventory"),
    "reboot_timeout": needless(
        "a soft reboot that takes longer than [hypervisor] soft_reboot_timeout becomes hard"
    ),
    "reserved_host_cpus": works("placement's inventory"),
    "reserved_host_disk_mb": works("placement's inventory"),
    "reserved_host_memory_mb": works("placement's inventory"),
    "reserved_huge_pages": warned("the driver has no huge pages", ""),
    "resize_fs_using_block_device": warned(_NO_INJECTION, "false"),
    "state_path": default_of("state_path"),
    "timeout_nbd": needless(_NO_INJECTION),
    "use_cow_images": default_of("disk_format"),
    "vcpu_pin_set": dataclasses.replace(
        default_of("guest_cpus"), about=f"{_SHARED}, before [compute] cpu_shared_set"
    ),
    "vif_plugging_is_fatal": works("the wait for neutron"),
    "vif_plugging_timeout": works("the wait for neutron"),
    "virt_mkfs": warned(
        "the program mkfs of each file system formats ephemeral disks; [DEFAULT]"
        " default_ephemeral_format chooses the file system",
        "",
    ),
}

#: Groups all of whose options have a rule.
WHOLE: Mapping[str, Mapping[str, Rule]] = {
    "compute": _COMPUTE,
    "pci": _PCI,
    "devices": _DEVICES,
    "workarounds": _WORKAROUNDS,
    "vnc": _VNC,
    "spice": _SPICE,
    "image_cache": _IMAGE_CACHE,
    "serial_console": _SERIAL_CONSOLE,
    "ephemeral_storage_encryption": _EPHEMERAL_STORAGE_ENCRYPTION,
}

#: Groups of which only the options that drivers read have a rule.
PARTS: Mapping[str, Mapping[str, Rule]] = {
    "DEFAULT": _DEFAULT,
    "guestfs": {"debug": needless(_NO_INJECTION)},
    "key_manager": {"backend": needless(_ENCRYPTED)},
    "neutron": {"physnets": needless(_NUMA)},
    "neutron_tunnel": {"numa_nodes": needless(_NUMA)},
    "filter_scheduler": {"pci_in_placement": needless("the driver reports no PCI devices")},
}
