# SPDX-License-Identifier: Apache-2.0
"""The files of a guest, and the guest's disks."""

from __future__ import annotations

import dataclasses
import unittest
from pathlib import Path
from typing import Any, ClassVar

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, Firmware
from compute_driver.guest import GIB, MIB, ConfigDrive, DirectBoot, Disk, Guest, Image, Rescue
from compute_driver.hardware import architecture, drives
from compute_driver.storage import layout
from compute_driver.storage.home import Home
from compute_driver.storage.layout import Role
from compute_driver.storage.source import FileSource
from tests.unit.base import configuration

UUID = "0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1"
HOME = Path("/var/lib/compute-driver/instances") / UUID
IMAGE = Image(location="/images/a", format=DiskFormat.QCOW2)
ISO = Image(location="/images/a.iso", format=DiskFormat.ISO)
KERNEL = DirectBoot(kernel=Image(location="/images/vmlinuz"))


def plan(disk_format: DiskFormat = DiskFormat.QCOW2, **fields: Any) -> layout.Layout:
    fields = {"architecture": "x86_64", "image": IMAGE, **fields}
    guest = Guest(uuid=UUID, name="a", **fields)
    uefi = architecture.has_uefi(guest)
    home = Home(configuration(disk_format=disk_format), HOME)
    return layout.plan(guest, HOME, drives.resolve(guest), home.locate, uefi=uefi)


def stored(disk: layout.GuestDisk) -> tuple[str, str]:
    return disk.source.path.name, str(disk.source.format)


def roles(found: layout.Layout) -> list[tuple[str, str, int | None]]:
    return [(disk.name, disk.device, disk.boot_order) for disk in found.disks]


class DisksTest(unittest.TestCase):
    def test_an_image_alone_makes_a_root_disk_of_its_size(self) -> None:
        found = plan()
        self.assertEqual(
            found.disks,
            (
                layout.GuestDisk(
                    role=Role.ROOT,
                    source=FileSource(path=HOME / "root.qcow2", format=DiskFormat.QCOW2),
                    size_bytes=0,
                    bus=DiskBus.VIRTIO,
                    device="disk",
                    boot_order=1,
                ),
            ),
        )
        self.assertEqual(found.directory, HOME)
        self.assertEqual(found.console_log, HOME / "console.log")
        self.assertEqual((found.kernel, found.ramdisk, found.nvram), (None, None, None))

    def test_all_disks_in_the_guests_order(self) -> None:
        found = plan(
            root=Disk(size_bytes=10 * GIB),
            ephemerals=(Disk(size_bytes=GIB), Disk(size_bytes=2 * GIB, bus=DiskBus.SCSI)),
            swap=Disk(size_bytes=512 * MIB),
            config_drive=ConfigDrive(hostname="a"),
        )
        self.assertEqual(
            [(d.name, *stored(d), d.size_bytes, str(d.bus)) for d in found.disks],
            [
                ("root", "root.qcow2", "qcow2", 10 * GIB, "virtio"),
                ("ephemeral0", "ephemeral0.raw", "raw", GIB, "virtio"),
                ("ephemeral1", "ephemeral1.raw", "raw", 2 * GIB, "scsi"),
                ("swap", "swap.raw", "raw", 512 * MIB, "virtio"),
                ("config-drive", "config-drive.iso", "raw", 0, "virtio"),
            ],
        )
        self.assertEqual([d.boot_order for d in found.disks], [1, None, None, None, None])
        self.assertEqual({d.source.path.parent for d in found.disks}, {HOME})

    def test_the_format_applies_to_the_root_disk(self) -> None:
        root = plan(DiskFormat.RAW).disks[0]
        self.assertEqual(stored(root), ("root.raw", "raw"))

    def test_a_disk_is_found_by_name(self) -> None:
        found = plan(swap=Disk(size_bytes=MIB))
        self.assertEqual(found.disk(Role.SWAP), found.disks[1])
        self.assertIsNone(found.disk(Role.INSTALLER))

    def test_the_installer_boots_before_the_root_disk(self) -> None:
        found = plan(image=ISO, root=Disk(size_bytes=GIB))
        self.assertEqual(roles(found), [("root", "disk", 2), ("installer", "cdrom", 1)])
        self.assertEqual(found.disks[1].source.format, DiskFormat.RAW)

    def test_a_live_system_needs_no_disk(self) -> None:
        for root in (None, Disk()):
            with self.subTest(root=root):
                found = plan(image=ISO, root=root)
                self.assertEqual(roles(found), [("installer", "cdrom", 1)])

    def test_empty_root_disk(self) -> None:
        found = plan(image=None, root=Disk(size_bytes=GIB))
        self.assertEqual(roles(found), [("root", "disk", 1)])

    def test_empty_root_disk_needs_a_size(self) -> None:
        with self.assertRaises(exceptions.InvalidParameter) as caught:
            plan(image=None, root=Disk())
        self.assertEqual(caught.exception.field, "disk")


class DirectBootTest(unittest.TestCase):
    def test_a_guest_with_a_kernel_only_has_no_disk(self) -> None:
        for root in (None, Disk()):
            with self.subTest(root=root):
                found = plan(image=None, root=root, boot=KERNEL)
                self.assertEqual(found.disks, ())
                self.assertEqual((found.kernel, found.ramdisk), (HOME / "kernel", None))

    def test_kernel_and_ramdisk(self) -> None:
        boot = dataclasses.replace(KERNEL, ramdisk=Image(location="/images/initrd"))
        self.assertEqual(plan(boot=boot).ramdisk, HOME / "ramdisk")

    def test_no_disk_has_a_boot_order(self) -> None:
        found = plan(boot=KERNEL, root=Disk(size_bytes=GIB))
        self.assertEqual(roles(found), [("root", "disk", None)])


class FirmwareTest(unittest.TestCase):
    def test_only_uefi_has_a_file_of_variables(self) -> None:
        nvram = HOME / "nvram.fd"
        cases: tuple[tuple[str, dict[str, Any], Path | None], ...] = (
            ("x86_64", {}, None),
            ("x86_64", {"firmware": Firmware.BIOS}, None),
            ("x86_64", {"firmware": Firmware.UEFI}, nvram),
            ("aarch64", {}, nvram),
            ("aarch64", {"boot": KERNEL}, None),
            ("armv7l", {}, nvram),
            ("armv7l", {"boot": KERNEL}, None),
            ("ppc64le", {}, None),
            ("s390x", {}, None),
            ("riscv64", {}, nvram),
        )
        for name, fields, expected in cases:
            with self.subTest(architecture=name, **fields):
                self.assertEqual(plan(architecture=name, **fields).nvram, expected)


class BusTest(unittest.TestCase):
    def test_each_machine_has_its_own_buses(self) -> None:
        x86 = ("virtio", "scsi", "sata", "usb")
        cases: tuple[tuple[str, str | None, tuple[str, ...], str], ...] = (
            ("x86_64", "q35", x86, "sata"),
            ("x86_64", "pc-q35-7.2", x86, "sata"),
            ("x86_64", "pc", (*x86, "ide"), "ide"),
            ("x86_64", "pc-i440fx-7.2", (*x86, "ide"), "ide"),
            ("i686", "q35", x86, "sata"),
            ("i686", "pc", (*x86, "ide"), "ide"),
            ("aarch64", None, ("virtio", "scsi", "usb"), "scsi"),
            ("armv7l", None, ("virtio", "scsi", "usb"), "scsi"),
            ("ppc64le", None, ("virtio", "scsi", "usb"), "scsi"),
            ("s390x", None, ("virtio", "scsi"), "scsi"),
            ("riscv64", "virt", ("virtio", "scsi", "usb"), "scsi"),
        )
        self.assertEqual({case[0] for case in cases}, set(architecture.TABLE))
        for name, machine, accepted, cdrom in cases:
            where: dict[str, Any] = {"architecture": name, "machine": machine}
            for bus in DiskBus:
                with self.subTest(bus=str(bus), **where):
                    if str(bus) in accepted:
                        root, drive = plan(
                            root=Disk(size_bytes=GIB, bus=bus), image=ISO, **where
                        ).disks
                        self.assertEqual((root.bus, str(drive.bus)), (bus, cdrom))
                    else:
                        with self.assertRaises(exceptions.InvalidParameter) as caught:
                            plan(root=Disk(bus=bus), **where)
                        self.assertEqual(caught.exception.field, "disk_bus")
                        self.assertEqual(caught.exception.accepted, ", ".join(sorted(accepted)))

    def test_the_config_drive_has_the_bus_of_the_root_disk(self) -> None:
        for bus, device in (("virtio", "disk"), ("scsi", "cdrom"), ("ide", "cdrom")):
            with self.subTest(bus=bus):
                root = Disk(bus=DiskBus(bus))
                made = plan(machine="pc", root=root, config_drive=ConfigDrive(hostname="a"))
                drive = made.disk(Role.CONFIG_DRIVE)
                assert drive is not None
                self.assertEqual(
                    (str(drive.bus), drive.device, drive.readonly), (bus, device, True)
                )

    def test_a_missing_bus_is_refused_for_every_disk(self) -> None:
        wrong = Disk(size_bytes=GIB, bus=DiskBus.IDE)
        cases: tuple[dict[str, Any], ...] = (
            {"root": wrong},
            {"ephemerals": (wrong,)},
            {"swap": wrong},
        )
        for fields in cases:
            with self.subTest(**fields), self.assertRaises(exceptions.InvalidParameter):
                plan(machine="q35", **fields)

    def test_ide_has_at_most_four_drives(self) -> None:
        ide = Disk(size_bytes=GIB, bus=DiskBus.IDE)
        drive = ConfigDrive(hostname="a")
        fields: dict[str, Any] = {"machine": "pc", "root": ide, "config_drive": drive}
        self.assertEqual(len(plan(ephemerals=(ide, ide), **fields).disks), 4)
        with self.assertRaises(exceptions.InvalidParameter) as caught:
            plan(ephemerals=(ide, ide, ide), **fields)
        self.assertIn("5 drives", str(caught.exception))


class RescueTest(unittest.TestCase):
    FIELDS: ClassVar[dict[str, Any]] = {
        "root": Disk(size_bytes=GIB),
        "swap": Disk(size_bytes=MIB),
        "config_drive": ConfigDrive(hostname="a"),
    }

    def names(self, found: layout.Layout) -> list[tuple[str, str]]:
        return [(disk.name, disk.source.path.name) for disk in found.disks]

    def test_the_rescue_disk_is_first_and_the_config_drive_its_own(self) -> None:
        rescue = Rescue(image=IMAGE, config_drive=ConfigDrive(hostname="b"))
        found = plan(**self.FIELDS, rescue=rescue)
        self.assertEqual(
            [
                ("rescue", "rescue-system.qcow2"),
                ("root", "root.qcow2"),
                ("swap", "swap.raw"),
                ("config-drive", "rescue-config-drive.iso"),
            ],
            self.names(found),
        )
        self.assertEqual([1, None, None, None], [disk.boot_order for disk in found.disks])

    def test_the_rescue_system_reads_its_config_drive_on_the_bus_of_its_disk(self) -> None:
        told = ConfigDrive(hostname="b")
        for rescue, bus in (
            (Rescue(image=IMAGE, config_drive=told, bus=DiskBus.VIRTIO), DiskBus.VIRTIO),
            (Rescue(image=IMAGE, config_drive=told), DiskBus.SATA),
            (Rescue(image=IMAGE, config_drive=told, bus=DiskBus.FDC), DiskBus.SATA),
            (Rescue(image=IMAGE, config_drive=told, bus=DiskBus.VIRTIO, last=True), DiskBus.SATA),
            (Rescue(image=IMAGE, bus=DiskBus.VIRTIO), DiskBus.SATA),
        ):
            with self.subTest(rescue):
                fields = self.FIELDS | {"root": Disk(size_bytes=GIB, bus=DiskBus.SATA)}
                found = plan(**fields, rescue=rescue)
                self.assertEqual(
                    [bus], [disk.bus for disk in found.disks if disk.name == "config-drive"]
                )

    def test_the_guests_disks_keep_their_places(self) -> None:
        own = plan(**self.FIELDS)
        for rescue, device, bus, name in (
            (Rescue(image=IMAGE, last=True), "disk", DiskBus.VIRTIO, "rescue-system.qcow2"),
            (Rescue(image=ISO, last=True), "cdrom", DiskBus.SATA, "rescue-system.iso"),
            (
                Rescue(image=IMAGE, last=True, cdrom=True, bus=DiskBus.SCSI),
                *("cdrom", DiskBus.SCSI, "rescue-system.qcow2"),
            ),
            (
                Rescue(image=ISO, last=True, cdrom=True, bus=DiskBus.VIRTIO),
                *("disk", DiskBus.VIRTIO, "rescue-system.iso"),
            ),
        ):
            with self.subTest(rescue):
                found = plan(**self.FIELDS, machine="q35", rescue=rescue)
                self.assertEqual(
                    [(disk.name, disk.source, disk.bus) for disk in own.disks],
                    [(disk.name, disk.source, disk.bus) for disk in found.disks[:-1]],
                )
                last = found.disks[-1]
                self.assertEqual((device, bus, name), (last.device, last.bus, stored(last)[0]))
                self.assertEqual(device == "cdrom" or rescue.image is ISO, last.readonly)
                self.assertEqual([1], [d.boot_order for d in found.disks if d.boot_order])

    def test_only_the_kernel_of_the_rescue_system_boots(self) -> None:
        found = plan(boot=KERNEL, rescue=Rescue(image=IMAGE))
        self.assertIsNone(found.kernel)
        self.assertEqual(1, found.disks[0].boot_order)
        found = plan(rescue=Rescue(image=IMAGE, boot=KERNEL))
        self.assertEqual(HOME / "rescue-kernel", found.kernel)
        self.assertIsNone(found.ramdisk)
        self.assertEqual({None}, {disk.boot_order for disk in found.disks})

    def test_impossible_rescue_systems_are_refused(self) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, "rescue bus"):
            plan(architecture="s390x", rescue=Rescue(image=IMAGE, bus=DiskBus.IDE))
        with self.assertRaisesRegex(exceptions.InvalidParameter, "firmware"):
            plan(firmware=Firmware.UEFI, rescue=Rescue(image=IMAGE, boot=KERNEL))
