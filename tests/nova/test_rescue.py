# SPDX-License-Identifier: Apache-2.0
"""Nova's rescues of instances as rescues of guests."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova import exception
from nova.compute import power_state
from nova.conf import CONF

from compute_driver.choices import DiskBus
from compute_driver.guest import DirectBoot, Disk, Guest, Image, Rescue
from compute_driver.nova import rescue
from tests.nova import glance
from tests.nova.base import IMAGE, NovaCase

GUEST = Guest(
    uuid="0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1",
    name="a",
    architecture="x86_64",
    image=Image(location="glance://another"),
    root=Disk(),
    boot=DirectBoot(kernel=Image(location="glance://own")),
)


class RescueTest(NovaCase):
    def rescue(self, guest: Guest = GUEST, **said: Any) -> Rescue:
        kernel = said.pop("kernel", {})
        with glance.serving(disk_format="qcow2", **kernel):
            return rescue.describe_rescue(CONF, self.context, guest, self.image(**said), None)

    def test_image_is_attached_first_unless_it_says_where(self) -> None:
        found = self.rescue()
        self.assertEqual(f"glance://{IMAGE}", found.image.location)
        self.assertEqual((False, None, None), (found.last, found.cdrom, found.boot))
        for said, bus, cdrom in (
            ({"hw_rescue_device": "disk"}, DiskBus.VIRTIO, False),
            ({"hw_rescue_device": "cdrom"}, None, True),
            ({"hw_rescue_bus": "usb"}, DiskBus.USB, None),
            ({"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"}, DiskBus.VIRTIO, False),
            ({"hw_rescue_device": "cdrom", "hw_rescue_bus": "ide"}, DiskBus.IDE, True),
            (
                {"hw_rescue_device": "cdrom", "hw_cdrom_bus": "ide", "hw_disk_bus": "scsi"},
                DiskBus.IDE,
                True,
            ),
            ({"hw_rescue_device": "floppy"}, DiskBus.FDC, False),
            ({"hw_rescue_device": "floppy", "hw_floppy_bus": "fdc"}, DiskBus.FDC, False),
        ):
            with self.subTest(said):
                found = self.rescue(**said)
                self.assertEqual((True, bus, cdrom), (found.last, found.bus, found.cdrom))

    def test_bus_is_the_rescue_images(self) -> None:
        guest = dataclasses.replace(GUEST, root=Disk(bus=DiskBus.SATA))
        for said, bus in (
            ({}, DiskBus.VIRTIO),
            ({"hw_disk_bus": "scsi"}, DiskBus.SCSI),
            ({"disk_format": "iso"}, None),
            ({"disk_format": "iso", "hw_cdrom_bus": "scsi", "hw_disk_bus": "usb"}, DiskBus.SCSI),
            ({"disk_format": "iso", "hw_rescue_device": "disk"}, DiskBus.VIRTIO),
        ):
            with self.subTest(said):
                self.assertIs(bus, self.rescue(guest, **said).bus)

    def test_kernel_is_the_images_or_the_configured_one(self) -> None:
        found = self.rescue(kernel={"kernel_id": "k", "ramdisk_id": "r"})
        assert found.boot is not None
        self.assertEqual("glance://k", found.boot.kernel.location)
        assert found.boot.ramdisk is not None
        self.assertEqual("glance://r", found.boot.ramdisk.location)
        self.assertEqual("root=/dev/vda console=ttyS0", found.boot.cmdline)
        CONF.set_override("rescue_kernel_id", "configured", "libvirt")
        self.addCleanup(CONF.clear_override, "rescue_kernel_id", "libvirt")
        found = self.rescue(os_command_line="quiet")
        assert found.boot is not None
        self.assertEqual("glance://configured", found.boot.kernel.location)
        self.assertEqual("quiet", found.boot.cmdline)
        CONF.set_override("rescue_ramdisk_id", "modules", "libvirt")
        self.addCleanup(CONF.clear_override, "rescue_ramdisk_id", "libvirt")
        for said, ramdisk in (
            ({}, "modules"),
            ({"kernel": {"ramdisk_id": "r"}}, "r"),
            ({"kernel": {"kernel_id": "k"}}, None),
        ):
            with self.subTest(said):
                boot = self.rescue(**said).boot
                assert boot is not None
                self.assertEqual(
                    ramdisk and f"glance://{ramdisk}", boot.ramdisk and boot.ramdisk.location
                )

    def test_own_image_is_started_by_the_own_kernel(self) -> None:
        guest = Guest(
            uuid=GUEST.uuid,
            name="a",
            architecture="x86_64",
            image=Image(location=f"glance://{IMAGE}"),
            boot=GUEST.boot,
        )
        self.assertEqual(GUEST.boot, self.rescue(guest).boot)

    def test_what_cannot_be(self) -> None:
        for said in (
            {"hw_rescue_device": "lun"},
            {"hw_rescue_device": "floppy", "hw_rescue_bus": "ide"},
            {"hw_rescue_device": "floppy", "hw_floppy_bus": "scsi"},
            {"hw_rescue_device": "cdrom", "hw_cdrom_bus": "fdc"},
            {"hw_rescue_bus": "fdc"},
            {"hw_rescue_device": "disk", "kernel": {"kernel_id": "k"}},
        ):
            with self.subTest(said), self.assertRaises(exception.InstanceNotRescuable):
                self.rescue(**said)

    def test_rescue_and_unrescue(self) -> None:
        instance = self.instance()
        with glance.serving(disk_format="qcow2"):
            self.spawn(instance)
            self.driver.power_off(instance)
            self.driver.rescue(self.context, instance, [], self.image(), "secret", {}, None)
            self.assertEqual(power_state.RUNNING, self.driver.get_info(instance).state)
            shown = self.driver._driver.show(instance.uuid).guest
            self.assertEqual(f"glance://{IMAGE}", shown.rescue.image.location)
        self.driver.unrescue(self.context, instance)
        self.assertIsNone(self.driver._driver.show(instance.uuid).guest.rescue)
        self.driver.unrescue(self.context, instance)  # nova may ask twice
        self.assertEqual(power_state.RUNNING, self.driver.get_info(instance).state)

    def test_volumes_are_not_rescued(self) -> None:
        self.assertFalse(self.driver.capabilities["supports_bfv_rescue"])
