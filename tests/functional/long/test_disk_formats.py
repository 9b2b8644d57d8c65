# SPDX-License-Identifier: Apache-2.0
"""Guests boot from images and disks of every format."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from compute_driver.choices import DiskFormat
from compute_driver.guest import Cpu, Disk, Image
from tests import guests
from tests.functional import inside

#: Formats of images, with qemu-img's name and options.
IMAGE_FORMATS = {
    DiskFormat.RAW: ["raw"],
    DiskFormat.VMDK: ["vmdk", "-o", "subformat=streamOptimized"],
    DiskFormat.VDI: ["vdi"],
    DiskFormat.VHD: ["vpc"],
    DiskFormat.VHDX: ["vhdx"],
}


class TestImages(inside.BootTestCase):
    def test_image_of_each_format_boots(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, options in IMAGE_FORMATS.items():
                with self.subTest(name):
                    image = self.converted(Path(folder), name, options)
                    made = self.spawn(image=image, root=Disk(), interfaces=())
                    self.assertEqual(["1"], self.fact(made, "BOOTS"))
                    self.driver.destroy(made.uuid)

    def converted(self, folder: Path, name: DiskFormat, options: list[str]) -> Image:
        source = str(guests.build().disk)
        target = str(folder / f"disk.{name}")
        command = ["qemu-img", "convert", "-f", "qcow2", "-O", *options, source, target]
        subprocess.run(command, check=True)
        return Image(location=target, format=name)


class TestRawDisk(inside.BootTestCase):
    options: ClassVar = {"disk_format": "raw"}

    def test_full_copy_on_the_older_machine_boots_again_and_again(self) -> None:
        made = self.spawn(machine="pc", cpu=Cpu(model="Nehalem"))
        self.assertEqual({"root.raw", "console.log"}, self.files(made))
        self.hard_reboot(made)
        self.assertEqual(["1", "2"], self.fact(made, "BOOTS"))
        machine = inside.domain_xml(self.driver, made).find("os/type")
        assert machine is not None
        self.assertRegex(machine.get("machine", ""), "^pc-i440fx-")
