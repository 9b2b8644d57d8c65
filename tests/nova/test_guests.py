# SPDX-License-Identifier: Apache-2.0
"""Real guests through nova's interface, from an image in Glance to the removal of all files."""

from __future__ import annotations

import contextlib
import socket
import uuid
from typing import Any

from nova import objects
from nova.compute import power_state, provider_tree
from nova.conf import CONF
from nova.network import model
from nova.virt import event

from compute_driver.nova import placement
from tests import guests, rfb
from tests.functional import bridges, inside
from tests.functional.base import BOOT_TIMEOUT, state_path
from tests.nova import glance
from tests.nova.base import IMAGE, NODE
from tests.nova.real import GuestCase

SNAPSHOT = "c0ffee00-0000-4000-8000-000000000001"
SHELVED = "c0ffee00-0000-4000-8000-000000000002"

READ_PASSWORD = (
    "mkdir -p /mnt; for disk in /dev/vd?; do mount -o ro -t iso9660 $disk /mnt && break; done;"
    " grep -o 'admin_pass[^,]*' /mnt/openstack/latest/meta_data.json; umount /mnt"
)


class GuestTest(GuestCase):
    def test_life_of_an_instance(self) -> None:
        disk = guests.build("basic").disk
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        instance = stack.enter_context(self.config_drive())
        with glance.serving(disk.read_bytes(), "qcow2"):
            self.spawn(instance)
        self.boots(instance)
        self.assertEqual(power_state.RUNNING, self.state(instance))
        said = self.driver.get_console_output(self.context, instance).decode()
        self.assertIn(f"GUEST-UUID: {instance.uuid}", said)
        self.assertIn("GUEST-NETWORKDATA: yes", said)
        self.until(event.EVENT_LIFECYCLE_STARTED)
        screen = self.driver.get_vnc_console(self.context, instance)
        with rfb.Client(("127.0.0.1", screen.port), BOOT_TIMEOUT) as client:
            self.assertIn(instance.name, client.name)
        serial = self.driver.get_serial_console(self.context, instance)
        with socket.create_connection(("127.0.0.1", serial.port), BOOT_TIMEOUT) as proxy:
            proxy.sendall(b"run echo heard by TCP\r")
            self.guests.console_wait(instance.uuid, "\nheard by TCP", timeout=BOOT_TIMEOUT)
        self.driver.trigger_crash_dump(instance)
        self.guests.console_wait(instance.uuid, "NMI received", timeout=BOOT_TIMEOUT)

        for kind in ("SOFT", "HARD"):
            before = len(self.guests.console_log(instance.uuid))
            self.driver.reboot(self.context, instance, [], kind)
            self.boots(instance, before)
        self.driver.pause(instance)
        self.assertEqual(power_state.PAUSED, self.state(instance))
        # Nova does not hear of a stop during a reboot.
        self.assertNotIn(event.EVENT_LIFECYCLE_STOPPED, self.until(event.EVENT_LIFECYCLE_PAUSED))
        self.driver.unpause(instance)
        self.driver.suspend(self.context, instance)
        self.assertEqual(power_state.SUSPENDED, self.state(instance))
        self.until(event.EVENT_LIFECYCLE_SUSPENDED)
        self.driver.resume(self.context, instance, [])
        self.driver.power_off(instance, 30, 10)
        self.assertEqual(power_state.SHUTDOWN, self.state(instance))
        self.until(event.EVENT_LIFECYCLE_STOPPED)

        before = len(self.guests.console_log(instance.uuid))
        self.driver.power_on(self.context, instance, [])
        self.boots(instance, before)
        found = self.driver.get_instance_diagnostics(instance)
        self.assertEqual((1, 2), (found.num_cpus, found.num_disks))
        self.assertGreater(found.cpu_details[0].time, 0)
        self.assertGreater(found.disk_details[0].read_bytes, 0)
        console = self.guests.console_attach(instance.uuid)
        console.send(b"run poweroff\r")
        self.until(event.EVENT_LIFECYCLE_STOPPED)
        console.close()

        self.resize_and_revert(instance)
        self.attach_and_detach(instance)
        self.driver.destroy(self.context, instance, [])
        self.assertEqual([], self.driver.list_instances())
        self.assertFalse(self.driver.instance_on_disk(instance))
        self.assertEqual((), self.guests.audit())

    def test_snapshot_shelve_and_rebuild(self) -> None:
        write = "echo kept | dd of=/dev/vda bs=512 seek=2000000 conv=notrunc; sync"
        read = "dd if=/dev/vda bs=512 skip=2000000 count=1 | head -c 4"
        instance = self.instance()
        with glance.serving(guests.build("basic").disk.read_bytes(), "qcow2") as store:
            self.spawn(instance)
            self.boots(instance)
            inside.run(self.guests, instance, write)
            store.add(SNAPSHOT)
            self.driver.snapshot(self.context, instance, SNAPSHOT, lambda **_: None)
            self.assertEqual(power_state.RUNNING, self.state(instance))

            # Shelve: a snapshot of a stopped guest; then nova removes the guest.
            self.driver.power_off(instance, 0)
            store.add(SHELVED)
            self.driver.snapshot(self.context, instance, SHELVED, lambda **_: None)
            self.driver.destroy(self.context, instance, [])
            self.assertFalse(self.driver.instance_on_disk(instance))

            for image_id, expected in ((SNAPSHOT, "kept"), (SHELVED, "kept"), (IMAGE, "")):
                # Unshelve, and rebuild with nova's own steps: the driver has no method rebuild.
                record = store.records[image_id]
                self.assertEqual("qcow2", record["disk_format"])
                instance.image_ref = image_id
                image = objects.ImageMeta.from_dict({**record, "properties": {}})
                self.driver.destroy(self.context, instance, [])
                self.spawn(instance, image)
                self.boots(instance)
                found = inside.run(self.guests, instance, read)
                self.assertEqual(expected, found.partition("kept")[1])
        self.driver.destroy(self.context, instance, [])
        self.assertEqual((), self.guests.audit())

    def test_rescue_by_another_image(self) -> None:
        built = guests.build("basic")
        assert built.disk is not None
        with self.config_drive() as instance, glance.serving(built.disk.read_bytes(), "qcow2"):
            self.spawn(instance)
            self.boots(instance)
            for said in ({}, {"hw_rescue_device": "disk", "hw_rescue_bus": "scsi"}):
                before = len(self.guests.console_log(instance.uuid))
                self.driver.power_off(instance, 0)
                image = self.image(**said)
                self.driver.rescue(self.context, instance, [], image, "geheim", {}, None)
                self.boots(instance, before)
                self.assertEqual(power_state.RUNNING, self.state(instance))
                disks = self.driver.get_instance_diagnostics(instance).num_disks
                self.assertEqual(3, disks)
                drive = inside.run(self.guests, instance, READ_PASSWORD)
                self.assertIn("geheim", drive)
                before = len(self.guests.console_log(instance.uuid))
                self.driver.unrescue(self.context, instance)
                self.boots(instance, before)
                disks = self.driver.get_instance_diagnostics(instance).num_disks
                self.assertEqual(2, disks)
        self.driver.destroy(self.context, instance, [])
        self.assertEqual((), self.guests.audit())

    def resize_and_revert(self, instance: Any) -> None:
        """Resize and revert, with nova's own steps around the calls of the driver."""
        flavor = instance.flavor.obj_clone()
        flavor.memory_mb, flavor.root_gb, flavor.swap = 256, 2, 16
        here = self.driver.get_host_ip_addr()
        before = self.guests.show(instance.uuid).guest
        self.driver.migrate_disk_and_power_off(self.context, instance, here, flavor, [], {}, 30, 10)
        instance.old_flavor, instance.flavor = instance.flavor, flavor
        shown = len(self.guests.console_log(instance.uuid))
        self.driver.finish_migration(
            *(self.context, None, instance, "", [], instance.image_meta, True, {}, {})
        )
        self.boots(instance, shown)
        found = self.guests.show(instance.uuid)
        self.assertEqual((256, before), (found.guest.memory_mib, found.before))

        data = self.driver.check_instance_shared_storage_local(self.context, instance)
        shared = self.driver.check_instance_shared_storage_remote(self.context, data)
        self.driver.check_instance_shared_storage_cleanup(self.context, data)
        self.driver.destroy(self.context, instance, [], {}, destroy_disks=not shared)
        instance.flavor = instance.old_flavor
        shown = len(self.log(instance))
        self.driver.finish_revert_migration(self.context, instance, [], None, {}, True)
        self.boots(instance, shown)
        self.assertEqual(before, self.guests.show(instance.uuid).guest)

    def attach_and_detach(self, instance: Any) -> None:
        with bridges.bridge() as name:
            vif = model.VIF(
                id=str(uuid.uuid4()),
                address="fa:16:3e:00:00:01",
                type="bridge",
                details={},
                network=model.Network(bridge=name, meta={}, subnets=[]),
            )
            self.vifs.append(objects.VirtualInterface(address=vif["address"], tag="blue"))
            self.driver.attach_interface(self.context, instance, self.image(), vif)
            self.assertEqual(1, len(bridges.ports(name)))
            (device,) = instance.device_metadata.devices
            self.assertEqual((["blue"], vif["address"]), (device.tags, device.mac))
            console = self.guests.console_attach(instance.uuid)
            shown = len(self.guests.console_log(instance.uuid))
            # On a busy machine the guest takes its time to find the card.
            card = f"/sys/bus/pci/devices/{device.bus.address}/class"
            console.send(f"run until cat {card} 2>/dev/null; do sleep 1; done\r".encode())
            self.guests.console_wait(
                instance.uuid, "\n0x020000", timeout=BOOT_TIMEOUT, skip_bytes=shown
            )
            console.close()
            self.driver.detach_interface(self.context, instance, vif)
            self.assertEqual([], bridges.ports(name))
            self.assertIsNone(instance.device_metadata)

    def log(self, instance: Any) -> bytes:
        return (state_path() / "instances" / instance.uuid / "console.log").read_bytes()

    def test_instance_of_a_cached_image_gets_what_image_and_flavor_ask_for(self) -> None:
        disk = guests.build("legacy").disk
        wishes = {"hw_cdrom_bus": "sata", "hw_sound_model": "ich9", "hw_serial_port_count": 2}
        specs = {"hw:watchdog_action": "reset", "quota:disk_read_bytes_sec": "100000000"}
        with self.config_drive() as instance, glance.serving(disk.read_bytes(), "qcow2"):
            self.assertTrue(self.driver.cache_image(self.context, IMAGE))
            instance.flavor.extra_specs = specs
            self.spawn(instance, self.image(**wishes))
            self.assertFalse(self.driver.cache_image(self.context, IMAGE))
        self.boots(instance)
        said = self.driver.get_console_output(self.context, instance).decode()
        self.assertIn("GUEST-WATCHDOG: i6300ESB timer", said)
        self.assertRegex(said, "GUEST-DISK: sr0 .* bus=sata .* label=config-2")
        CONF.set_override("image_unused_seconds", 0, "hypervisor")
        self.addCleanup(CONF.clear_override, "image_unused_seconds", "hypervisor")
        self.driver.manage_image_cache(self.context, [])
        self.assertIn(f"glance://{IMAGE}", [entry.source for entry in self.guests.image_list()])
        self.driver.destroy(self.context, instance, [])
        self.driver.manage_image_cache(self.context, [])
        self.assertEqual((), self.guests.image_list())

    def test_host_is_described_as_it_is(self) -> None:
        (name,) = self.driver.get_available_nodes()
        found = self.driver.get_available_resource(name)
        self.assertGreater(found["hypervisor_version"], 5_000_000)
        self.assertIn(("x86_64", "qemu", "hvm"), found["supported_instances"])
        tree = provider_tree.ProviderTree()
        tree.new_root(name, NODE)
        self.driver.update_provider_tree(tree, name)
        traits = tree.data(name).traits
        # Emulated guests have a Nehalem by default, which has SSE4.2 but not AVX2.
        self.assertLessEqual({"HW_CPU_X86_SSE42", "CUSTOM_ACCELERATOR_TCG"}, traits)
        self.assertNotIn("HW_CPU_X86_AVX2", traits)
        self.assertIn(placement.SECURE_BOOT, traits)
        # Nova takes away the traits of capabilities that the driver does not have.
        self.assertNotIn(placement.SECURE_BOOT, self.driver.capabilities_as_traits())
        self.assertLessEqual({"COMPUTE_STORAGE_BUS_VIRTIO", "COMPUTE_FIRMWARE_BIOS"}, traits)
