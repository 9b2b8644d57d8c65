# SPDX-License-Identifier: Apache-2.0
"""Disks that are files of this host: how they are made, copied and measured.

:class:`compute_driver.storage.disks.Kind` has the promises of the functions.

Sources: qemu-img(1), mkswap(8), fallocate(1); the labels are the labels that Nova gives
to ephemeral disks.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from oslo_config import cfg

from compute_driver.choices import DiskFormat
from compute_driver.storage import formatting, overlay
from compute_driver.storage.base_image import BaseImage, content
from compute_driver.storage.layout import GuestDisk, Role
from compute_driver.storage.source import FileSource
from compute_driver.system import files, space, tools
from compute_driver.system.filesystem import host_errors

#: Roles of disks that are an ISO 9660 image themselves.
_ISO_ROLES = frozenset({Role.INSTALLER, Role.RESCUE})


def candidates(
    conf: cfg.ConfigOpts, directory: Path, name: str, wanted: DiskFormat | None
) -> list[FileSource]:
    """Return the files that the disk may be.

    The name of an existing file tells its format, so that a changed option ``disk_format`` holds
    for new guests only.
    """
    configured = DiskFormat(conf.hypervisor.disk_format)
    known = sorted(_FROM_IMAGE, key=lambda word: word is not configured)
    return [
        FileSource(
            path=directory / f"{name}.{word}",
            format=DiskFormat.RAW if word is DiskFormat.ISO else word,
        )
        for word in ([wanted] if wanted else known)
    ]


def outside(_conf: cfg.ConfigOpts, _directory: Path) -> list[FileSource]:
    """Return no disks: the files are in the guest's directory."""
    return []


def make(
    source: FileSource,
    disk: GuestDisk,
    image: BaseImage | None,
    limits: tools.ToolLimits,
    *,
    allocate: bool = False,
) -> None:
    """Make the file of a disk, readable by its owner only.

    The file of an ISO 9660 image shares bytes and permissions with the cached image if it can.
    """
    if image is not None and image.format is DiskFormat.ISO and disk.role in _ISO_ROLES:
        files.place(image.path, source.path)
        return
    held = content(disk, image)
    with filling(source) as path:
        if held is not None:
            _FROM_IMAGE[source.format](disk, path, held, limits)
        else:
            _EMPTY[disk.role, source.format](disk, path, limits)
        if allocate:
            size = disk.size_bytes or (0 if held is None else held.virtual_size)
            _allocate(path, size, limits)


def filling(source: FileSource) -> AbstractContextManager[Path]:
    """Yield the path of an empty file, readable by its owner only, that replaces the file."""
    return files.new_file(source.path)


def place(source: FileSource, target: FileSource) -> None:
    """Give the file a second name, or copy it where no link can be."""
    files.place(source.path, target.path)


def clone(source: FileSource, target: FileSource, limits: tools.ToolLimits) -> None:
    """Copy the file."""
    files.clone(source.path, target.path, limits)


def grow(source: FileSource, size: int, limits: tools.ToolLimits) -> None:
    """Make the file larger, by the format that the driver has given it: guests write headers."""
    if source.format is DiskFormat.RAW:
        files.lengthen(source.path, size, source.name.rstrip("0123456789"))
    else:
        formats = ["-f", str(source.format)]
        argv = ["qemu-img", "resize", "-q", *formats, str(source.path), str(size)]
        tools.run(argv, limits)


def allocate(source: FileSource, size: int, limits: tools.ToolLimits) -> None:
    """Fill the holes of the file, and reserve the space behind its end."""
    _allocate(source.path, size, limits)


def move(source: FileSource, target: FileSource) -> None:
    """Rename the file."""
    with host_errors(f"{source.path} cannot become {target.path}"):
        source.path.rename(target.path)


def remove(source: FileSource) -> None:
    """Remove the file."""
    with host_errors(f"{source.path} cannot be removed"):
        source.path.unlink(missing_ok=True)


def exists(source: FileSource) -> bool:
    """Tell whether the file is there."""
    return source.path.exists()


def allocated(source: FileSource) -> int:
    """Return the space that the file takes, in bytes."""
    return files.allocated(source.path)


def require_room(directory: Path, sources: Sequence[FileSource]) -> None:
    """Refuse copies that the file system of the directory has no space for."""
    space.require(directory, sum(map(allocated, sources)))


def bases(source: FileSource) -> list[Path]:
    """Return the files that an overlay is based on, nearest first."""
    return overlay.chain(source.path) if source.format is DiskFormat.QCOW2 else []


def unstated(source: FileSource) -> str | None:
    """Return the name of the file that an overlay is based on whose format QEMU would guess."""
    return overlay.unstated(source.path) if source.format is DiskFormat.QCOW2 else None


def _allocate(path: Path, size: int, limits: tools.ToolLimits) -> None:
    # The length stays: the end of a qcow2 file tells where QEMU writes next.
    tools.run(["fallocate", "--keep-size", "--length", str(size), str(path)], limits)


def _overlay(disk: GuestDisk, path: Path, image: BaseImage, limits: tools.ToolLimits) -> None:
    size = str(disk.size_bytes or image.virtual_size)
    base = ["-F", str(image.format), "-b", str(image.path)]
    tools.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path), size], limits)


def _copy(disk: GuestDisk, path: Path, image: BaseImage, limits: tools.ToolLimits) -> None:
    formats = ["-f", str(image.format), "-O", "raw"]
    tools.run(["qemu-img", "convert", "-q", *formats, str(image.path), str(path)], limits)
    if disk.size_bytes:
        files.lengthen(path, disk.size_bytes, str(disk.role))


def _empty_qcow2(disk: GuestDisk, path: Path, limits: tools.ToolLimits) -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(disk.size_bytes)]
    tools.run(argv, limits)


def _empty_raw(disk: GuestDisk, path: Path, limits: tools.ToolLimits) -> None:
    files.lengthen(path, disk.size_bytes, str(disk.role))


def _ephemeral(disk: GuestDisk, path: Path, limits: tools.ToolLimits) -> None:
    files.lengthen(path, disk.size_bytes, str(disk.role))
    tools.run([*formatting.command(disk.filesystem, disk.name), str(path)], limits)


def _swap(disk: GuestDisk, path: Path, limits: tools.ToolLimits) -> None:
    # Where mkswap writes: mkswap reports no error when the file system is full.
    path.write_bytes(bytes(mmap.PAGESIZE))
    files.lengthen(path, disk.size_bytes, str(disk.role))
    tools.run(["mkswap", "-L", "swap1", str(path)], limits)


_FROM_IMAGE: dict[DiskFormat, Callable[[GuestDisk, Path, BaseImage, tools.ToolLimits], None]] = {
    DiskFormat.QCOW2: _overlay,
    DiskFormat.RAW: _copy,
}

_EMPTY: dict[tuple[Role, DiskFormat], Callable[[GuestDisk, Path, tools.ToolLimits], None]] = {
    (Role.ROOT, DiskFormat.QCOW2): _empty_qcow2,
    (Role.ROOT, DiskFormat.RAW): _empty_raw,
    (Role.EPHEMERAL, DiskFormat.RAW): _ephemeral,
    (Role.SWAP, DiskFormat.RAW): _swap,
}
