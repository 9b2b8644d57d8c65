# SPDX-License-Identifier: Apache-2.0
"""FAT file systems in files, made without a mount."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tests.guests.tools import run

SECTOR = 512


def make(image: Path, label: str, offset: int = 0) -> None:
    """Make a FAT16 file system that fills the rest of an image file.

    :param image: an existing file
    :param label: of the file system
    :param offset: of the file system in the file, in bytes
    :raises: GuestBuildError
    """
    # Without a size, in KiB, mkfs.vfat takes the whole file.
    size_kib = (image.stat().st_size - offset) // 1024
    arguments = ["-F", "16", "-n", label, "-i", "c0de0001", "--offset", str(offset // SECTOR)]
    run(["mkfs.vfat", *arguments, image, str(size_kib)])


def fill(image: Path, content: Mapping[str, Path], offset: int = 0) -> None:
    """Copy files into a FAT file system.

    :param image: the file that holds the file system
    :param content: source files, by the path in the file system
    :param offset: of the file system in the file, in bytes
    :raises: GuestBuildError
    """
    drive = ["-i", f"{image}@@{offset}"]
    folders = {parent for name in content for parent in PurePosixPath(name).parents}
    folders.discard(PurePosixPath())
    if folders:
        run(["mmd", *drive, *(f"::{folder}" for folder in sorted(folders))])
    for name, source in content.items():
        run(["mcopy", *drive, source, f"::{name}"])
