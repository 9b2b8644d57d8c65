# SPDX-License-Identifier: Apache-2.0
"""The image that a guest's disks are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import shown_size
from compute_driver.storage.layout import GuestDisk, Role

#: Roles of disks whose content is the image.
_ROLES = frozenset({Role.ROOT, Role.RESCUE})

#: QEMU gives a larger floppy disk a geometry of 1.44 MB, without a word.
MAX_FLOPPY_BYTES = 2880 * 1024


class BaseImage(Protocol):
    """A complete, inspected image that is never written again."""

    @property
    def path(self) -> Path:
        """The file, absolute."""

    @property
    def format(self) -> DiskFormat:
        """Its format, as inspected: ``qcow2``, ``raw`` or ``iso``."""

    @property
    def virtual_size(self) -> int:
        """Size of the disk in the image, in bytes."""


def content(disk: GuestDisk, image: BaseImage | None) -> BaseImage | None:
    """Return the image if it is the content of the disk; None if the disk begins empty."""
    if image is None or image.format is DiskFormat.ISO or disk.role not in _ROLES:
        return None
    return image


def check_size(disk: GuestDisk, image: BaseImage | None) -> None:
    """Refuse an image that is larger than the disk.

    :raises ImageTooLarge: names both sizes.
    """
    if disk.device == "floppy" and image is not None and image.virtual_size > MAX_FLOPPY_BYTES:
        raise exceptions.ImageTooLarge(
            f"the image is a disk of {shown_size(image.virtual_size)}, the {disk.role} disk is a"
            f" floppy disk; accepted: an image of at most {shown_size(MAX_FLOPPY_BYTES)}"
        )
    held = content(disk, image)
    if held is not None and 0 < disk.size_bytes < held.virtual_size:
        raise exceptions.ImageTooLarge(
            f"the image is a disk of {shown_size(held.virtual_size)}, the {disk.role} disk has"
            f" only {shown_size(disk.size_bytes)}; accepted: a disk at least as large as the image,"
            " or of size 0 for the image's own size"
        )
