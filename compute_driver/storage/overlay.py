# SPDX-License-Identifier: Apache-2.0
"""Reads the name of an overlay's backing file in its header, which no guest can write.

Source: QEMU, ``docs/interop/qcow2.txt``, "Header".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions

#: Magic number, version, and offset and length of the backing file's name.
_HEADER = struct.Struct(">4sIQI")
_MAGIC = b"QFI\xfb"
_MAX_NAME = 1023


def base(path: Path) -> Path | None:
    """Return the backing file of an overlay; None for a file without a backing file.

    :raises HostError: if the overlay cannot be read.
    :raises FileNotFoundError: if the overlay does not exist.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            magic, _version, offset, length = _HEADER.unpack(header)
            if magic != _MAGIC or not offset or length > _MAX_NAME:
                return None
            file.seek(offset)
            name = file.read(length)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise exceptions.HostError(f"{path} cannot be read: {error.strerror}") from error
    return path.parent / os.fsdecode(name)


def bases(
    directory: Path, unreadable: dict[Path, exceptions.HostError]
) -> Iterator[tuple[Path, Path]]:
    """Yield every overlay below a directory, and its backing file.

    Files that vanish meanwhile are left out.

    :param unreadable: receives the files and directories that cannot be read, and the reasons.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            reason = f"{error.filename} cannot be read: {error.strerror}"
            unreadable[Path(error.filename)] = exceptions.HostError(reason)

    # Path.glob passes over directories that it may not list, without an error.
    for parent, _directories, names in os.walk(directory, onerror=refuse):
        for path in (Path(parent, name) for name in sorted(names) if name.endswith(".qcow2")):
            try:
                found = base(path)
            except FileNotFoundError:
                continue
            except exceptions.HostError as error:
                unreadable[path] = error
                continue
            if found is not None:
                yield path, found
