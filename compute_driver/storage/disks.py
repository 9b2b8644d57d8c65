# SPDX-License-Identifier: Apache-2.0
"""Makes the files behind a guest's disks.

Sources: qemu-img(1), mke2fs(8), mkswap(8); the labels are those that Nova gives to ephemeral
disks.
"""

from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import GIB, MIB
from compute_driver.storage.layout import DiskFile
from compute_driver.system import concurrency, files, tools
from compute_driver.system.filesystem import host_errors

#: Why a hard link may be impossible where a copy is not: another file system, too many links,
#: a file of somebody else (sysctl fs.protected_hardlinks), a file system without links.
_UNLINKABLE = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})

#: Copying reads no format: a large disk may take its time.
_COPY_CPU_SECONDS = 86400

#: But a copy that takes more than this, and more than a slow disk needs for its bytes, is stuck.
_COPY_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 4 * MIB


#: Roles of disks that are made of an image, and of those that are an ISO 9660 image itself.
_IMAGE_ROLES = frozenset({"root", "rescue"})
_ISO_ROLES = frozenset({"installer", "rescue"})


class Source(Protocol):
    """A complete, inspected image that is never written again."""

    @property
    def path(self) -> Path:
        """The file, absolute."""

    @property
    def format(self) -> DiskFormat:
        """Its format, as inspected: ``qcow2``, ``raw`` or ``iso``."""

    @property
    def virtual_size(self) -> int:
        """Size of the disk that it holds, in bytes."""


def made_format(
    directory: Path, name: Callable[[DiskFormat], str], configured: DiskFormat
) -> DiskFormat:
    """Return the format that a guest's disk has, or will have if it is not made yet.

    The file's name tells, so that a changed option ``disk_format`` holds for new guests only.

    :param directory: the guest's own directory.
    :param name: gives the file's name for each format.
    :param configured: what option ``disk_format`` says.
    """
    for known in (DiskFormat.QCOW2, DiskFormat.RAW):
        if (directory / name(known)).exists():
            return known
    return configured


def check_size(disk: DiskFile, source: Source | None) -> None:
    """Refuse an image that the disk made of it has no room for.

    :raises ImageTooLarge: names both sizes.
    """
    content = _content(disk, source)
    if content is not None and 0 < disk.size_bytes < content.virtual_size:
        enough = -(-content.virtual_size // GIB)
        raise exceptions.ImageTooLarge(
            f"the image is a disk of {_shown(content.virtual_size)}, the {disk.role} disk has only"
            f" {_shown(disk.size_bytes)}; accepted: a disk of {enough} GiB or more, or of size 0"
            " for the image's own size"
        )


def make(disk: DiskFile, source: Source | None, limits: tools.ToolLimits) -> None:
    """Make the file behind a disk, complete or not at all, readable by its owner only.

    An ISO 9660 image shares the cached one's bytes and permissions where it can.

    :param disk: any disk but the config drive.
    :param source: the guest's image; only the disks made of it take notice.
    :param limits: what each helper program may use.
    :raises ImageTooLarge: if the image does not fit the disk.
    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if a helper program is missing or fails, or the operating system refuses.
    """
    if source is not None and source.format is DiskFormat.ISO and disk.role in _ISO_ROLES:
        place(source.path, disk.path)
        return
    check_size(disk, source)
    content = _content(disk, source)
    with files.new_file(disk.path) as path:
        if content is not None:
            _FROM_IMAGE[disk.format](disk, path, content, limits)
        else:
            _EMPTY[disk.role.rstrip(string.digits), disk.format](disk, path, limits)


def place(source: Path, target: Path) -> None:
    """Give a file that is never written again a second name, or copy it where that cannot be.

    :param source: a complete file: an ISO 9660 image, a kernel or a ramdisk.
    :param target: a path that is free.
    :raises NotEnoughSpace: if the copy does not fit.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(f"{target} cannot be made"):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
            with files.new_file(target) as path:
                concurrency.run_blocking(shutil.copyfile, source, path)


def clone(source: Path, target: Path, limits: tools.ToolLimits) -> None:
    """Copy a file that nobody writes to now; both share what is the same where file systems can.

    Holes stay holes.

    :param target: a path that is free; the file appears there complete, with the same owner.
    :param limits: how much memory it may use; how long it takes, its size says.
    :raises NotEnoughSpace: if it does not fit.
    :raises HostError: if the operating system refuses, or the copy is stuck.
    """
    limits = dataclasses.replace(limits, cpu_seconds=_COPY_CPU_SECONDS)
    timeout = _COPY_SECONDS + files.allocated(source) / _SLOWEST_BYTES_PER_SECOND
    with files.new_file(target) as path:
        sharing = ["--reflink=auto", "--sparse=auto", "--preserve=mode,ownership"]
        tools.run(["cp", *sharing, "--", str(source), str(path)], limits, timeout=timeout)


def grow(path: Path, disk_format: DiskFormat, size: int, limits: tools.ToolLimits) -> None:
    """Make a disk that nobody uses now larger; what is new of it reads as zeros.

    :param path: the file.
    :param disk_format: ``qcow2`` or ``raw``, as the driver made it: a guest writes what it likes.
    :param size: what the guest is to see, in bytes, not less than now.
    :raises HostError: if a helper program is missing or fails, or the operating system refuses.
    """
    with host_errors(f"{path} cannot grow"):
        if disk_format is DiskFormat.RAW:
            os.truncate(path, size)
        else:
            argv = ["qemu-img", "resize", "-q", "-f", str(disk_format), str(path), str(size)]
            tools.run(argv, limits)


def _content(disk: DiskFile, source: Source | None) -> Source | None:
    """Return the image if it is the content of that disk."""
    if source is None or source.format is DiskFormat.ISO or disk.role not in _IMAGE_ROLES:
        return None
    return source


def _overlay(disk: DiskFile, path: Path, source: Source, limits: tools.ToolLimits) -> None:
    size = str(disk.size_bytes or source.virtual_size)
    base = ["-F", str(source.format), "-b", str(source.path)]
    tools.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path), size], limits)


def _copy(disk: DiskFile, path: Path, source: Source, limits: tools.ToolLimits) -> None:
    formats = ["-f", str(source.format), "-O", "raw"]
    tools.run(["qemu-img", "convert", "-q", *formats, str(source.path), str(path)], limits)
    if disk.size_bytes:
        os.truncate(path, disk.size_bytes)


def _empty_qcow2(disk: DiskFile, path: Path, limits: tools.ToolLimits) -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(disk.size_bytes)]
    tools.run(argv, limits)


def _empty_raw(disk: DiskFile, path: Path, limits: tools.ToolLimits) -> None:
    os.truncate(path, disk.size_bytes)


def _ephemeral(disk: DiskFile, path: Path, limits: tools.ToolLimits) -> None:
    os.truncate(path, disk.size_bytes)
    # The file is all zeros: writing zeros for inodes and journal would only fill the host.
    zeros = "lazy_itable_init=1,lazy_journal_init=1"
    tools.run(["mkfs.ext4", "-q", "-F", "-L", disk.role, "-E", zeros, str(path)], limits)


def _swap(disk: DiskFile, path: Path, limits: tools.ToolLimits) -> None:
    # Where mkswap writes: it does not say so when the file system is full.
    path.write_bytes(bytes(mmap.PAGESIZE))
    os.truncate(path, disk.size_bytes)
    tools.run(["mkswap", "-L", "swap1", str(path)], limits)


_FROM_IMAGE: dict[DiskFormat, Callable[[DiskFile, Path, Source, tools.ToolLimits], None]] = {
    DiskFormat.QCOW2: _overlay,
    DiskFormat.RAW: _copy,
}

_EMPTY: dict[tuple[str, DiskFormat], Callable[[DiskFile, Path, tools.ToolLimits], None]] = {
    ("root", DiskFormat.QCOW2): _empty_qcow2,
    ("root", DiskFormat.RAW): _empty_raw,
    ("ephemeral", DiskFormat.RAW): _ephemeral,
    ("swap", DiskFormat.RAW): _swap,
}


def _shown(size: int) -> str:
    return f"{size / GIB:.2f} GiB ({size} bytes)"
