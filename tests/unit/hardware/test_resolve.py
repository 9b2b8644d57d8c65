# SPDX-License-Identifier: Apache-2.0
"""A guest's hardware has every choice made."""

from __future__ import annotations

import dataclasses
import unittest
from collections.abc import Iterator
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import Accelerator, DiskBus, DiskFormat, UsbModel, VideoModel
from compute_driver.consoles import DisplayKind
from compute_driver.guest import GIB, Disk, Identity, Image, Rescue
from compute_driver.hardware import architecture, resolve
from compute_driver.hardware.description import Addresses, Gic, Hardware, Switch
from compute_driver.hardware.drives import RootKind
from tests import devices
from tests.unit import base

IMAGE = Image(location="/images/a", format=DiskFormat.QCOW2)


def hardware(accelerator: Accelerator = Accelerator.TCG, **changes: Any) -> Hardware:
    made = base.describe(**{"architecture": "x86_64", **changes})
    options = base.configuration(vnc_listen="127.0.0.1").hypervisor
    return resolve.as_configured(made, accelerator, options)


def missing(value: object, path: str) -> Iterator[str]:
    """Yield the path of every None in a value."""
    if value is None:
        yield path
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from missing(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, tuple):
        for member in value:
            yield from missing(member, path)


class ResolveTest(unittest.TestCase):
    def test_nothing_is_none(self) -> None:
        options = base.configuration().hypervisor
        for facts, machine in devices.machines():
            made = devices.guest(facts, machine, IMAGE)
            for accelerator in (Accelerator.TCG, *(Accelerator.KVM,) * bool(facts.kvm_hosts)):
                with self.subTest(f"{facts.name} {machine.name} {accelerator}"):
                    decided = resolve.as_configured(made, accelerator, options)
                    self.assertEqual([], list(missing(decided, "hardware")))

    def test_serial_number_is_the_uuid_unless_another_is_wanted(self) -> None:
        uuid = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"
        for wish, serial in ((None, uuid), ("", ""), ("S1", "S1")):
            (identity,) = hardware(uuid=uuid, identity=Identity(serial=wish)).identity
            self.assertEqual(serial, identity.serial)
        for name in ("ppc64le", "s390x", "riscv64"):
            self.assertEqual((), hardware(architecture=name).identity)
        self.assertNotEqual((), hardware(architecture="aarch64").identity)

    def test_machine_without_a_screen_serves_none(self) -> None:
        self.assertEqual((DisplayKind.VNC,), hardware().display.kinds)
        self.assertEqual((), hardware(video=VideoModel.NONE).display.kinds)

    def test_served_screen_brings_usb_devices_to_pseries(self) -> None:
        self.assertIs(UsbModel.QEMU_XHCI, hardware(architecture="ppc64le").peripherals.usb)
        dark = hardware(architecture="ppc64le", video=VideoModel.NONE)
        self.assertIs(UsbModel.NONE, dark.peripherals.usb)

    def test_clocks_follow_the_accelerator(self) -> None:
        for wish, emulated, accelerated in (
            (None, Switch.DEFAULT, Switch.OFF),
            (True, Switch.ON, Switch.ON),
            (False, Switch.OFF, Switch.OFF),
        ):
            self.assertIs(emulated, hardware(hpet=wish).clock.hpet)
            self.assertIs(accelerated, hardware(Accelerator.KVM, hpet=wish).clock.hpet)

    def test_platform_follows_machine_and_accelerator(self) -> None:
        for name, accelerator, gic, addresses in (
            ("aarch64", Accelerator.TCG, Gic.V3, Addresses.ROOT_BUS),
            ("aarch64", Accelerator.KVM, Gic.HOST, Addresses.ROOT_BUS),
            ("s390x", Accelerator.TCG, Gic.NONE, Addresses.LIBVIRT),
        ):
            made = hardware(accelerator, architecture=name)
            self.assertEqual((gic, addresses), (made.features.gic, made.addresses))


class MachineTest(unittest.TestCase):
    """The machine where no user names one."""

    def test_has_the_buses_of_the_drives(self) -> None:
        ide = Disk(size_bytes=GIB, bus=DiskBus.IDE)
        for architecture_name in ("x86_64", "i686"):
            for expected, changes in (
                ("q35", {}),
                ("q35", {"root": Disk(size_bytes=GIB, bus=DiskBus.SATA)}),
                ("pc", {"root": ide}),
                ("pc", {"ephemerals": (Disk(size_bytes=GIB), ide)}),
                ("pc", {"swap": ide}),
                ("pc", {"cdrom_bus": DiskBus.IDE}),
                ("pc", {"root": ide, "cdrom_bus": DiskBus.SATA}),
            ):
                with self.subTest(f"{architecture_name} {changes}"):
                    made = hardware(architecture=architecture_name, **changes)
                    self.assertEqual(expected, made.machine)

    def test_stays_the_default_if_no_machine_has_the_buses(self) -> None:
        root = Disk(size_bytes=GIB, bus=DiskBus.IDE)
        with self.assertRaisesRegex(exceptions.InvalidParameter, "disk_bus: 'ide' .*scsi, usb"):
            hardware(architecture="aarch64", root=root)

    def test_that_the_user_names_is_no_choice(self) -> None:
        root = Disk(size_bytes=GIB, bus=DiskBus.IDE)
        for name in ("q35", "pc-q35-7.2"):
            with self.assertRaisesRegex(exceptions.InvalidParameter, "disk_bus: 'ide' .*sata"):
                hardware(machine=name, root=root)

    def test_stays_in_a_rescue_whose_system_gets_sata_for_ide(self) -> None:
        rescue = Rescue(image=IMAGE, bus=DiskBus.IDE)
        for changes, machine, bus in (
            ({}, "q35", DiskBus.SATA),
            ({"machine": "q35"}, "q35", DiskBus.SATA),
            ({"machine": "pc"}, "pc", DiskBus.IDE),
            ({"swap": Disk(size_bytes=GIB, bus=DiskBus.IDE)}, "pc", DiskBus.IDE),
        ):
            with self.subTest(f"{changes}"):
                made = hardware(rescue=rescue, **changes)
                self.assertEqual((machine, (bus,)), (made.machine, made.drives.rescue))
        with self.assertRaisesRegex(exceptions.InvalidParameter, "rescue bus: 'ide'"):
            hardware(architecture="s390x", rescue=rescue)

    def test_stays_in_a_resize(self) -> None:
        ide, other = Disk(size_bytes=GIB, bus=DiskBus.IDE), Disk(size_bytes=GIB)
        before = base.describe(architecture="x86_64", swap=ide)
        after = architecture.keeping_machine(dataclasses.replace(before, swap=None), before)
        self.assertEqual("pc", architecture.machine_type(after))
        before = base.describe(architecture="x86_64", swap=other)
        after = architecture.keeping_machine(dataclasses.replace(before, swap=ide), before)
        self.assertEqual("q35", architecture.machine_type(after))
        same = dataclasses.replace(before, vcpus=2)
        self.assertEqual(same, architecture.keeping_machine(same, before))
        named = dataclasses.replace(before, machine="pc")
        self.assertEqual(named, architecture.keeping_machine(named, before))


class RootKindTest(unittest.TestCase):
    def test_follows_the_format_of_the_image(self) -> None:
        for image, expected in (
            (IMAGE, RootKind.DISK),
            (dataclasses.replace(IMAGE, format=DiskFormat.RAW), RootKind.DISK),
            (dataclasses.replace(IMAGE, format=DiskFormat.ISO), RootKind.ISO),
            (None, RootKind.EMPTY),
        ):
            with self.subTest(image=image):
                self.assertIs(expected, RootKind.of(base.describe(image=image)))
