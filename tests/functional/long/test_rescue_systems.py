# SPDX-License-Identifier: Apache-2.0
"""A rescue system repairs a guest that no longer boots."""

from __future__ import annotations

from typing import Any

from compute_driver.choices import DiskBus
from compute_driver.guest import GIB, MIB, ConfigDrive, Disk, Image, Rescue
from tests import guests
from tests.functional import base, inside

TOLD = ConfigDrive(hostname="rescuer", admin_password="secret")


class TestRescueSystems(base.HostTestCase):
    """The view of the rescue system."""

    def disks(self, made: Any) -> list[tuple[str, str]]:
        """Return names and roles of the guest's disks, in the guest's order."""
        facts = [line.split() for line in self.fact(made, "DISK")]
        return [(fact[0], next(f[7:] for f in fact if f.startswith("serial="))) for fact in facts]

    def fact(self, made: Any, key: str) -> list[str]:
        """Return a fact that the guest printed at its last boot."""
        boot = self.console(made).replace("\r", "").split(base.BANNER)[-2]
        lines = [line.partition(f"GUEST-{key}: ") for line in boot.splitlines()]
        return [text for _before, found, text in lines if found]

    def rescue(self, made: Any, wanted: Rescue) -> None:
        with inside.boots(self.driver, made):
            self.driver.rescue(made.uuid, wanted)

    def repair(self, made: Any, target: str, source: str) -> None:
        """Restore the first bytes of a disk."""
        command = f"dd if=/dev/{source} of=/dev/{target} bs=1M count=1 conv=notrunc; sync"
        inside.run(self.driver, made, command)

    def test_broken_guest_is_repaired(self) -> None:
        made = self.spawn(
            root=Disk(size_bytes=GIB),
            ephemerals=(Disk(size_bytes=64 * MIB),),
            config_drive=ConfigDrive(hostname="own"),
        )
        own = [("vda", "root"), ("vdb", "ephemeral0"), ("vdc", "config-drive")]
        self.assertEqual(own, self.disks(made))
        break_it = "dd if=/dev/zero of=/dev/vda bs=1M count=1 conv=notrunc; sync"
        image = base.disk_image()

        inside.run(self.driver, made, break_it)
        self.rescue(made, Rescue(image=image, config_drive=TOLD))
        first = [("vda", "rescue"), ("vdb", "root"), ("vdc", "ephemeral0"), ("vdd", "config-drive")]
        self.assertEqual(first, self.disks(made))
        self.assertEqual(["rescuer"], self.fact(made, "HOSTNAME"))
        self.repair(made, "vdb", "vda")
        with inside.boots(self.driver, made):
            self.driver.unrescue(made.uuid)
        self.assertEqual(own, self.disks(made))
        self.assertEqual(["own"], self.fact(made, "HOSTNAME"))

        inside.run(self.driver, made, break_it)
        self.rescue(made, Rescue(image=image, last=True))
        self.assertEqual([*own, ("vdd", "rescue")], self.disks(made))
        self.assertEqual(["own"], self.fact(made, "HOSTNAME"))
        self.repair(made, "vda", "vdd")
        with inside.boots(self.driver, made):
            self.driver.unrescue(made.uuid)
        self.assertEqual(own, self.disks(made))

    def test_system_without_a_driver_of_the_bus_of_the_guests_disks(self) -> None:
        made = self.spawn(root=Disk(size_bytes=GIB, bus=DiskBus.SATA))
        self.assertEqual([], self.fact(made, "DISK"))
        wanted = Rescue(image=base.disk_image(), config_drive=TOLD, bus=DiskBus.VIRTIO)
        self.rescue(made, wanted)
        self.assertEqual([("vda", "rescue"), ("vdb", "config-drive")], self.disks(made))
        self.assertEqual(["rescuer"], self.fact(made, "HOSTNAME"))
        with inside.boots(self.driver, made):
            self.driver.unrescue(made.uuid)

    def test_other_kinds_of_systems(self) -> None:
        made = self.spawn()
        built = guests.build("basic")
        for wanted, name in (
            (Rescue(image=Image(location=str(built.iso)), bus=DiskBus.SCSI, last=True), "sr0"),
            (Rescue(image=base.disk_image(), boot=base.kernel()), "vda"),
            (Rescue(image=base.disk_image(), bus=DiskBus.SCSI, last=True), "sda"),
        ):
            with self.subTest(wanted):
                self.rescue(made, wanted)
                self.assertIn(name, dict(self.disks(made)))  # CD-ROM drives have no serial number
                with inside.boots(self.driver, made):
                    self.driver.unrescue(made.uuid)
        self.driver.rescue(made.uuid, Rescue(image=base.disk_image()))
        self.driver.destroy(made.uuid)
