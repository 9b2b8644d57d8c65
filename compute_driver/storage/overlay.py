# SPDX-License-Identifier: Apache-2.0
"""Which file an overlay is based on: its header says it, and no guest can write there.

Source: QEMU, ``docs/interop/qcow2.txt``, "Header".
"""

from __future__ import annotations

import os
import struct
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
