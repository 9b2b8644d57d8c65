# SPDX-License-Identifier: Apache-2.0
"""Which file an overlay is based on: its header says it, and no guest can write there.

Source: QEMU, ``docs/interop/qcow2.txt``, "Header".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions

#: Magic number, version, place and length of the name.
_HEADER = struct.Struct(">4sIQI")
_MAGIC = b"QFI\xfb"
_MAX_NAME = 1023


def base(path: Path) -> Path | None:
    """Return the file that an overlay is based on; None if it stands alone or is no overlay.

    :raises HostError: if it cannot be read.
    :raises FileNotFoundError: if it is not there.
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
    """Yield each overlay in a directory, however far down, and the file that it is based on.

    What vanishes meanwhile is left out.

    :param unreadable: is given the files and directories that cannot be read, and why.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            reason = f"{error.filename} cannot be read: {error.strerror}"
            unreadable[Path(error.filename)] = exceptions.HostError(reason)

    # Path.glob would say nothing of a directory that it may not list.
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
