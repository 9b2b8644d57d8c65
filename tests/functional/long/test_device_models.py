# SPDX-License-Identifier: Apache-2.0
"""Models of devices that few guests have, as the guests see them."""

from __future__ import annotations

from typing import Any

from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    InputModel,
    NicModel,
    VideoModel,
    VirtioForm,
)
from compute_driver.guest import GIB, MIB, ConfigDrive, Disk, Guest, Interface, Rescue
from tests.functional import base, inside

#: Linux's driver for each card.
NIC_DRIVERS = {
    NicModel.VIRTIO: "virtio_net",
    NicModel.E1000: "e1000",
    NicModel.E1000E: "e1000e",
    NicModel.RTL8139: "8139cp",
    NicModel.NE2K_PCI: "ne2k-pci",
    NicModel.PCNET: "pcnet32",
    NicModel.VMXNET3: "vmxnet3",
}

BALLOON = "/sys/bus/virtio/drivers/virtio_balloon"


def serial(line: str) -> str:
    """Return the serial number of a guest's line about a disk."""
    return line.partition("serial=")[2].partition(" ")[0]


class TestDiskBuses(base.HostTestCase):
    """The guest boots from each bus, and has its data disks and config drive on it."""

    def assert_disks(self, bus: DiskBus, **changes: Any) -> Guest:
        disk = Disk(size_bytes=GIB, bus=bus)
        drive = ConfigDrive(hostname=f"on-{bus}")
        made = self.spawn(root=disk, ephemerals=(disk,), config_drive=drive, **changes)
        disks = self.fact(made, "DISK")
        self.assertEqual(["CDGUEST", "config-2", "ephemeral0"], self.labels(made))
        self.assertEqual(3, sum(f" bus={bus} " in line for line in disks), disks)
        self.assertEqual([f"on-{bus}"], self.fact(made, "HOSTNAME"))
        return made

    def labels(self, made: Guest) -> list[str]:
        """Return the labels of all file systems that the guest sees."""
        lines = self.fact(made, "DISK") + self.fact(made, "PARTITION")
        labels = {line.rpartition("label=")[2] for line in lines}
        return sorted(labels - {"none"})

    def test_ide(self) -> None:
        made = self.assert_disks(DiskBus.IDE, cdrom_bus=DiskBus.IDE, interfaces=())
        # No user names the machine, and the default has no IDE.
        machine = inside.machine(self.driver, made)
        self.assertIn("i440fx", machine)
        image = base.disk_image()
        with inside.boots(self.driver, made):
            self.driver.rescue(made.uuid, Rescue(image=image, bus=DiskBus.IDE, last=True))
        self.assertEqual(machine, inside.machine(self.driver, made))
        (line,) = (line for line in self.fact(made, "DISK") if serial(line) == "rescue")
        self.assertIn(" bus=ide ", line)

    def test_scsi(self) -> None:
        self.assert_disks(DiskBus.SCSI, interfaces=())

    def test_sata_and_every_network_card(self) -> None:
        cards = tuple(Interface(model=model) for model in NIC_DRIVERS)
        image = base.disk_image("legacy")
        made = self.assert_disks(DiskBus.SATA, image=image, interfaces=cards)
        nics = self.fact(made, "NIC")
        self.assertEqual(len(cards), len(nics))
        for card in cards:
            assert card.model is not None
            with self.subTest(card.model):
                (line,) = (nic for nic in nics if card.mac in nic)
                self.assertIn(f"driver={NIC_DRIVERS[card.model]} ", line)

    def test_usb(self) -> None:
        self.assert_disks(DiskBus.USB, image=base.disk_image("legacy"), interfaces=())


class TestVirtioForms(base.HostTestCase):
    """The guest sees every virtio device, in each form and on each transport."""

    def assert_devices(self, **changes: Any) -> Guest:
        drive = ConfigDrive(hostname="formed")
        data = Disk(size_bytes=8 * MIB)
        made = self.spawn(config_drive=drive, ephemerals=(data,), **changes)
        self.assertEqual(["formed"], self.fact(made, "HOSTNAME"))
        self.assertEqual(["virtio_rng.0"], self.fact(made, "RNG"))
        (nic,) = self.fact(made, "NIC")
        self.assertIn("driver=virtio_net", nic)
        disks = [line for line in self.fact(made, "DISK") if " bus=virtio " in line]
        self.assertLessEqual({"ephemeral0", "config-drive"}, {serial(line) for line in disks})
        self.assertIn("virtio", inside.run(self.driver, made, f"ls {BALLOON}"))
        return made

    def test_transitional(self) -> None:
        self.assert_devices(virtio=VirtioForm.TRANSITIONAL)

    def test_non_transitional(self) -> None:
        self.assert_devices(machine="pc", virtio=VirtioForm.NON_TRANSITIONAL)

    def test_mapped_into_memory_on_a_machine_without_pci(self) -> None:
        # The machine has no clock to measure the processor's clock with on a busy host.
        boot = base.kernel("tsc_early_khz=2000000")
        made = self.assert_devices(machine="microvm", boot=boot)
        self.assertEqual("", inside.run(self.driver, made, "ls /sys/bus/pci/devices 2>/dev/null"))


class TestOtherModels(base.HostTestCase):
    def test_unwanted_devices_are_absent(self) -> None:
        changes = {"rng": False, "balloon": False, "guest_agent": False}
        made = self.spawn(input=InputModel.PS2, video=VideoModel.NONE, interfaces=(), **changes)
        self.assertEqual(["none"], self.fact(made, "RNG"))
        kinds = inside.run(self.driver, made, "cat /sys/bus/virtio/devices/*/device")
        # 2 is a block device, the root disk (virtio 1.2, section 5).
        self.assertEqual(["0x0002"], kinds.split())

    def test_keyboard_and_pointer_are_virtio_or_usb(self) -> None:
        for model, name in ((InputModel.VIRTIO, "Virtio"), (InputModel.USB, "USB")):
            with self.subTest(model):
                image = base.disk_image("legacy")
                made = self.spawn(image=image, input=model, interfaces=())
                names = inside.run(self.driver, made, "cat /sys/class/input/input*/name")
                self.assertRegex(names, f"QEMU (QEMU )?{name} Keyboard")
                self.assertRegex(names, f"QEMU (QEMU )?{name} Tablet")
                self.driver.destroy(made.uuid)

    def test_console_on_virtio(self) -> None:
        drive = ConfigDrive(hostname="on-hvc", user_data=b"#!/bin/sh\necho heard >/dev/hvc0\n")
        made = base.guest(console=ConsoleModel.VIRTIO, config_drive=drive, interfaces=())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.console_wait(made.uuid, "heard", timeout=base.BOOT_TIMEOUT)
