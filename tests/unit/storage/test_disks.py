# SPDX-License-Identifier: Apache-2.0
"""Which size the disks of a guest have."""

from __future__ import annotations

import dataclasses
import unittest
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat
from compute_driver.guest import GIB, MIB
from compute_driver.storage import base_image
from compute_driver.storage.layout import GuestDisk, Role
from compute_driver.storage.source import FileSource


class Base:
    path = Path("/images/a")

    def __init__(self, virtual_size: int, image_format: DiskFormat = DiskFormat.RAW) -> None:
        self.virtual_size = virtual_size
        self.format = image_format


class CheckSizeTest(unittest.TestCase):
    def disk(self, size_bytes: int, role: Role = Role.ROOT) -> GuestDisk:
        return GuestDisk(
            role=role,
            source=FileSource(path=Path("/x"), format=DiskFormat.RAW),
            size_bytes=size_bytes,
            bus=DiskBus.VIRTIO,
        )

    def test_images_that_fit(self) -> None:
        for disk, source in (
            (self.disk(0), Base(GIB)),
            (self.disk(GIB), Base(GIB)),
            (self.disk(GIB), None),
            (self.disk(GIB), Base(2 * GIB, DiskFormat.ISO)),
            (self.disk(GIB, Role.EPHEMERAL), Base(2 * GIB)),
        ):
            base_image.check_size(disk, source)

    def test_floppy_disks_are_small(self) -> None:
        floppy = dataclasses.replace(self.disk(0, Role.RESCUE), device="floppy")
        for size in (1440 * 1024, 2880 * 1024):
            base_image.check_size(floppy, Base(size))
        with self.assertRaisesRegex(exceptions.ImageTooLarge, "1.00 MiB|2949120 bytes"):
            base_image.check_size(floppy, Base(MIB * 3))

    def test_the_error_of_a_large_image_names_both_sizes(self) -> None:
        with self.assertRaises(exceptions.ImageTooLarge) as caught:
            base_image.check_size(self.disk(GIB), Base(2 * GIB + 512))
        for text in ("2.00 GiB (2147484160 bytes)", "1.00 GiB (1073741824 bytes)", "as large as"):
            self.assertIn(text, str(caught.exception))
