# SPDX-License-Identifier: Apache-2.0
"""Reads the name of an overlay's backing file in its header, which no guest can write.

Source: QEMU, ``docs/interop/qcow2.txt``, "Header".
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from compute_driver import exceptions

#: The end of the names of overlays that :func:`bases` finds.
SUFFIX = ".qcow2"

#: Magic number, version, and offset and length of the backing file's name.
_HEADER = struct.Struct(">4sIQI")
_MAGIC = b"QFI\xfb"
_MAX_NAME = 1023

#: A backing file that is no file of this host: ``nbd://host/disk`` or ``json:{...}``.
_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

#: The length of the header of version 2, and where later versions state the length.
_OLD_VERSION, _OLD_LENGTH, _LENGTH_AT = 2, 72, 100

#: Type and length of a header extension, and the type of the name of the backing file's format.
_EXTENSION = struct.Struct(">II")
_FORMAT = 0xE2792ACA
_MAX_EXTENSIONS = 65536


def base(path: Path) -> Path | None:
    """Return the backing file of an overlay; None for a file without a backing file.

    :raises HostError: if the overlay cannot be read.
    :raises FileNotFoundError: if the overlay does not exist.
    """
    return _file(path, _header(path)[0])


def chain(path: Path) -> list[Path]:
    """Return all backing files of an overlay, nearest first.

    The header of each overlay states the format of its backing file.  A backing file without a
    stated format, or of another format, ends the chain: a guest may have written its content.  A
    file that is gone is the last of the chain.

    :raises HostError: if an overlay cannot be read.
    """
    return [backing for _name, backing, _stated in _links(path) if backing is not None]


def unstated(path: Path) -> str | None:
    """Return the name of the backing file in the chain of an overlay whose format is not stated.

    QEMU would guess the format, and a guest may have written the content.

    :return: None if the chain has no such file.
    :raises HostError: if an overlay cannot be read.
    """
    return next((name for name, _backing, stated in _links(path) if not stated), None)


def _links(path: Path) -> Iterator[tuple[str, Path | None, str]]:
    """Yield name, file and stated format of the backing files of :func:`chain`."""
    files: list[Path | None] = [path]
    with contextlib.suppress(FileNotFoundError):
        while (overlay := files[-1]) is not None:
            name, stated = _header(overlay)
            backing = _file(overlay, name)
            if not name or backing in files:
                return
            yield name, backing, stated
            files.append(backing if stated == "qcow2" else None)


def _file(overlay: Path, name: str) -> Path | None:
    """Return the file of this host that is the backing file of an overlay, by its name."""
    return overlay.parent / name if name and not _PROTOCOL.match(name) else None


def _header(path: Path) -> tuple[str, str]:
    """Return name and stated format of the backing file of an overlay; empty without one."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return "", ""
            magic, version, offset, length = _HEADER.unpack(header)
            if magic != _MAGIC or not offset or length > _MAX_NAME:
                return "", ""
            file.seek(offset)
            name = os.fsdecode(file.read(length))
            return name, _stated_format(file, version, min(offset, _MAX_EXTENSIONS))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise exceptions.HostError(f"{path} cannot be read: {error.strerror}") from error


def _stated_format(file: BinaryIO, version: int, end: int) -> str:
    """Return the format of the backing file, which an extension of the header states.

    :param end: where the extensions end at the latest.
    """
    at = _OLD_LENGTH
    if version > _OLD_VERSION:
        file.seek(_LENGTH_AT)
        at = int.from_bytes(file.read(4), "big")
    while at + _EXTENSION.size <= end:
        file.seek(at)
        kind, length = _EXTENSION.unpack(file.read(_EXTENSION.size).ljust(_EXTENSION.size, b"\0"))
        if kind == _FORMAT:
            return file.read(min(length, end)).decode(errors="replace")
        if kind == 0:
            break
        at += _EXTENSION.size + -(-length // 8) * 8
    return ""


def bases(
    directory: Path, unreadable: dict[Path, exceptions.HostError]
) -> Iterator[tuple[Path, Path]]:
    """Yield every overlay below a directory, with each of its backing files.

    Files that vanish meanwhile are left out.

    :param unreadable: receives the files and directories that cannot be read, and the reasons.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            reason = f"{error.filename} cannot be read: {error.strerror}"
            unreadable[Path(error.filename)] = exceptions.HostError(reason)

    # Path.glob passes over directories that it may not list, without an error.
    for parent, _directories, names in os.walk(directory, onerror=refuse):
        for path in (Path(parent, name) for name in sorted(names) if name.endswith(SUFFIX)):
            try:
                yield from ((path, backing) for backing in chain(path))
            except exceptions.HostError as error:
                unreadable[path] = error
