# SPDX-License-Identifier: Apache-2.0
"""The disks of guests, whatever kind of source they have."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.storage import file_disks
from compute_driver.storage.base_image import BaseImage, check_size
from compute_driver.storage.layout import GuestDisk, Layout
from compute_driver.storage.source import FileSource, Source
from compute_driver.system import tools
from compute_driver.system.tools import ToolLimits


class Kind(Protocol):
    """How disks of one kind of source are found, made, copied, moved and measured.

    Sources are of the same kind.  Functions raise :exc:`NotEnoughSpace` if the storage is full, and
    :exc:`HostError` if a helper program is missing or fails, or the operating system refuses.
    """

    def candidates(
        self, conf: cfg.ConfigOpts, directory: Path, name: str, wanted: DiskFormat | None
    ) -> Sequence[Any]:
        """Return the sources that a disk of a guest may have.

        :param directory: the guest's own directory, whose name is the guest's UUID.
        :param name: the name of the source.
        :param wanted: ``raw``, or ``iso`` for an ISO 9660 file; None for any format that the
            configuration knows.
        :return: first the source of a new disk; none if the configuration has no use for the kind.
        """

    def outside(self, conf: cfg.ConfigOpts, directory: Path) -> Sequence[Any]:
        """Return the disks of a guest that are not in its directory, also those that wait.

        :param directory: the directory of the guest, which may be gone otherwise.
        """

    def make(
        self,
        source: Any,
        disk: GuestDisk,
        image: BaseImage | None,
        limits: ToolLimits,
        *,
        allocate: bool = False,
    ) -> None:
        """Make a disk at *source*, complete or not at all.

        :param disk: any disk except the config drive.
        :param image: the guest's image; only disks that are made of the image use it.
        :param limits: what each helper program may use.
        :param allocate: whether a disk that the guest can write to takes all its space at once.
        """

    def filling(self, source: Any) -> AbstractContextManager[Path]:
        """Yield the path of an empty file, whose content becomes or replaces the disk in the end.

        If the block fails, the disk stays as it was.
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

    def allocate(self, source: Any, size: int, limits: ToolLimits) -> None:
        """Make a disk that nobody uses now take all its space at once.

        :param size: size that the guest sees, in bytes.
        """

    def move(self, source: Any, target: Any) -> None:
        """Give a disk that nobody uses now another address, which is free.

        A move that a sudden death interrupts is done again.
        """

    def remove(self, source: Any) -> None:
        """Remove a disk that nobody uses now; nothing if it is gone."""

    def exists(self, source: Any) -> bool:
        """Tell whether the disk is there."""

    def allocated(self, source: Any) -> int:
        """Return the space that the disk takes, in bytes; the disk need not be readable."""

    def require_room(self, directory: Path, sources: Sequence[Any]) -> None:
        """Refuse copies of disks, for the same guest, that the storage has no space for.

        :param directory: the guest's own directory.
        :raises NotEnoughSpace: names the bytes that are needed and free.
        """

    def bases(self, source: Any) -> list[Path]:
        """Return the files that a disk is based on, nearest first; a file that is gone is the last.

        :raises HostError: if a file cannot be read.
        """

    def unstated(self, source: Any) -> str | None:
        """Return the name of the file that a disk is based on whose format QEMU would guess.

        :return: None without such a file.

        :raises HostError: if a file cannot be read.
        """


#: One row for each member of :data:`Source`.  A new disk is of the first kind that the
#: configuration has a use for; files come last.
KINDS: Mapping[type[Source], Kind] = {FileSource: file_disks}


def kind(source: Source) -> Kind:
    """Return the kind of a source."""
    return KINDS[type(source)]


def flatten(source: Source, target: Source, limits: ToolLimits) -> None:
    """Copy a disk and its backing files into one disk without a backing file.

    Nobody writes to the disk during the copy.  The two disks may be of different kinds.

    :param target: a source that does not exist yet; the copy appears there complete.
    :raises DiskUnusable: see :func:`convert`.
    """
    with kind(target).filling(target) as path:
        convert(source, path, str(target.format), limits)


def convert(
    source: Source, path: Path, image_format: str, limits: ToolLimits, timeout: float | None = None
) -> None:
    """Write the content of a disk, with all that the disk is based on, into a file.

    :param source: a disk that nobody writes to now.
    :param image_format: the format of the file, by QEMU's name.
    :param timeout: see :func:`compute_driver.system.tools.run`.
    :raises DiskUnusable: see :func:`require_stated`.
    """
    require_stated(source)
    formats = ["-f", str(source.format), "-O", image_format]
    tools.run(
        ["qemu-img", "convert", "-q", *formats, source.address, str(path)], limits, timeout=timeout
    )


def require_stated(source: Source) -> None:
    """Refuse a disk for QEMU's tools that would guess the format of a file the disk is based on.

    :raises DiskUnusable: names the file: a guest may have written its content.
    """
    unstated = kind(source).unstated(source)
    if unstated is not None:
        raise exceptions.DiskUnusable(
            f"disk {source.address} is based on {unstated}, and no header states the format of this"
            " file; 'qemu-img rebase -u -f qcow2 -F FORMAT -b FILE OVERLAY' states the format"
        )


def missing(source: Source) -> str | None:
    """Return the address of a disk that is gone, or the first missing file that it is based on."""
    made = kind(source)
    if not made.exists(source):
        return source.address
    # QEMU, as another user, owns the files that cannot be read.
    with contextlib.suppress(exceptions.HostError):
        return next((str(base) for base in made.bases(source) if not base.exists()), None)
    return None


def require(plan: Layout, guest: str) -> None:
    """Return if all disks of a guest are there, with the files that they are based on.

    :param guest: the guest's name, for the error.
    :raises DiskUnusable: names the disk and the missing file.
    """
    for disk in plan.disks:
        gone = missing(disk.source)
        if gone:
            raise exceptions.DiskUnusable(
                f"the {disk.name} disk of guest {guest!r}, {disk.source.address}, cannot be used:"
                f" {gone} is gone; bring this file back first"
            )


def make(
    disk: GuestDisk, image: BaseImage | None, limits: ToolLimits, *, allocate: bool = False
) -> None:
    """Make a disk at its source; see :meth:`Kind.make`.

    :raises ImageTooLarge: if the image is larger than the disk.
    """
    check_size(disk, image)
    kind(disk.source).make(disk.source, disk, image, limits, allocate=allocate)
