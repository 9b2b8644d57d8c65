# SPDX-License-Identifier: Apache-2.0
"""The disks of guests, whatever kind of source they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from compute_driver.storage import file_disks
from compute_driver.storage.base_image import BaseImage, check_size
from compute_driver.storage.layout import GuestDisk
from compute_driver.storage.source import FileSource, Source
from compute_driver.system.tools import ToolLimits


class Kind(Protocol):
    """How disks of one kind of source are made, copied and measured.

    Sources are of the same kind.  Functions raise :exc:`NotEnoughSpace` if the storage is full, and
    :exc:`HostError` if a helper program is missing or fails, or the operating system refuses.
    """

    def make(
        self, source: Any, disk: GuestDisk, image: BaseImage | None, limits: ToolLimits
    ) -> None:
        """Make a disk at *source*, complete or not at all.

        :param disk: any disk except the config drive.
        :param image: the guest's image; only disks that are made of the image use it.
        :param limits: what each helper program may use.
        """

    def place(self, source: Any, target: Any) -> None:
        """Make *target* the same read-only disk as *source*; both may share their bytes."""

    def clone(self, source: Any, target: Any, limits: ToolLimits) -> None:
        """Copy a disk that nobody writes to now; both may share equal bytes.

        :param target: a source that is free; the disk appears there complete.
        """

    def grow(self, source: Any, size: int, limits: ToolLimits) -> None:
        """Make a disk larger that nobody uses now; the new part reads as zeros.

        :param size: size that the guest sees, in bytes, not less than now.
        """

    def exists(self, source: Any) -> bool:
        """Tell whether the disk is there."""

    def allocated(self, source: Any) -> int:
        """Return the space that the disk takes, in bytes; the disk need not be readable."""

    def bases(self, source: Any) -> list[Path]:
        """Return the files that a disk, which nobody uses now, is directly based on."""


#: One row for each member of :data:`Source`.
_KINDS: dict[type[Source], Kind] = {FileSource: file_disks}


def kind(source: Source) -> Kind:
    """Return how disks with that kind of source are made, copied and measured."""
    return _KINDS[type(source)]


def make(disk: GuestDisk, image: BaseImage | None, limits: ToolLimits) -> None:
    """Make a disk at its source; see :meth:`Kind.make`.

    :raises ImageTooLarge: if the image is larger than the disk.
    """
    check_size(disk, image)
    kind(disk.source).make(disk.source, disk, image, limits)
