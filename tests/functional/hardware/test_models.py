# SPDX-License-Identifier: Apache-2.0
"""Guests of a boot sector have the models of devices that this host has."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskBus, FileSystem, NicModel, RebootKind, SoundModel, VideoModel
from compute_driver.guest import MIB, Disk, Guest, Image, Interface, Rescue
from compute_driver.system import tools
from tests.functional import boot_sectors, inside, tiny

FLOPPY_BYTES = 1440 * 1024


class TestModels(tiny.TinyTestCase):
    """QEMU starts each model, or the driver refuses the model by its name."""

    def check(self, name: str, **changes: Any) -> None:
        (info,) = (
            info
            for info in self.driver.host_show(["x86_64"]).architectures
            if info.architecture == "x86_64"
        )
        family, _, model = name.rpartition(" ")
        made = tiny.guest(**changes)
        self.addCleanup(self.driver.destroy, made.uuid)
        if name in info.absent_devices:
            refusal = f"{family}: '{model}' is not usable; accepted: [a-z]"
            with self.assertRaisesRegex(exceptions.NotOnThisHost, refusal):
                self.driver.spawn(made)
        else:
            self.driver.spawn(made)
            domain = inside.domain_xml(self.driver, made)
            path = (
                "devices/sound[@model='{0}']"
                if family == "sound"
                else "devices/*/model[@type='{0}']"
            )
            self.assertIsNotNone(domain.find(path.format(model)))

    def test_network_cards(self) -> None:
        self.check("nic model igb", interfaces=(Interface(model=NicModel.IGB),))

    def test_display_adapter(self) -> None:
        for machine in ("q35", "pc"):
            with self.subTest(machine):
                self.check("video vmvga", machine=machine, video=VideoModel.VMVGA)

    def test_sound_cards(self) -> None:
        for model in (SoundModel.VIRTIO, SoundModel.PCSPK):
            with self.subTest(model):
                self.check(f"sound {model}", sound=model)


class TestBuses(tiny.TinyTestCase):
    """A boot sector writes dots to the console."""

    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        self.image = Path(home.name, "image")
        self.image.write_bytes(boot_sectors.dots().ljust(FLOPPY_BYTES, b"\0"))

    def rescue(self, made: Guest, **wanted: Any) -> dict[str, str]:
        """Rescue a guest until its rescue system writes; return the disk's target."""
        before = len(self.driver.console_log(made.uuid))
        image = Image(location=str(self.image))
        self.driver.rescue(made.uuid, Rescue(image=image, last=True, **wanted), timeout=0)
        self.driver.console_wait(made.uuid, "...", timeout=120, skip_bytes=before)
        *_, disk = inside.domain_xml(self.driver, made).iterfind("devices/disk")
        return {"device": disk.get("device", ""), **dict(disk.find("target").attrib)}

    def test_rescue_by_ide_on_a_machine_without_it(self) -> None:
        made = self.spawn_tiny()
        with self.assertLogs("compute_driver.operations.rescue", "WARNING") as logged:
            disk = self.rescue(made, bus=DiskBus.IDE)
        self.assertEqual(("disk", "sata"), (disk["device"], disk["bus"]))
        self.assertIn("q35", inside.machine(self.driver, made))
        self.assertIn("sata in place of ide", logged.output[0])

    def test_rescue_by_floppy(self) -> None:
        made = self.spawn_tiny()
        disk = self.rescue(made, bus=DiskBus.FDC)
        self.assertEqual(("floppy", "fdc"), (disk["device"], disk["bus"]))
        self.assertEqual((), self.driver.audit())
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        disks = inside.domain_xml(self.driver, made).findall("devices/disk")
        self.assertEqual(["disk", "floppy"], [each.get("device") for each in disks])
        self.driver.unrescue(made.uuid)
        self.image.write_bytes(bytes(4 * MIB))
        with self.assertRaisesRegex(exceptions.ImageTooLarge, "floppy"):
            self.rescue(made, bus=DiskBus.FDC)
        self.assertIsNone(self.driver.show(made.uuid).guest.rescue)

    def test_resize_keeps_the_machine(self) -> None:
        made = self.spawn_tiny(swap=Disk(size_bytes=MIB, bus=DiskBus.IDE))
        self.assertIn("i440fx", inside.machine(self.driver, made))
        self.driver.resize(made.uuid, dataclasses.replace(made, swap=None), timeout=0)
        self.assertIn("i440fx", inside.machine(self.driver, made))
        self.driver.confirm_resize(made.uuid)


class TestFileSystems(tiny.TinyTestCase):
    def test_program_that_the_host_lacks_is_named_before_anything_is_made(self) -> None:
        disk = Disk(size_bytes=8 * MIB, filesystem=FileSystem.NTFS)
        made = tiny.guest(ephemerals=(disk,))
        locate = tools.locate
        lacking = mock.patch.object(
            tools, "locate", lambda name: None if name == "mkfs.ntfs" else locate(name)
        )
        with (
            lacking,
            self.assertRaisesRegex(exceptions.MissingDependency, "mkfs.ntfs.*ntfs-3g"),
        ):
            self.driver.spawn(made)
