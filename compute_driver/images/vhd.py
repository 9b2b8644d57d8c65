# SPDX-License-Identifier: Apache-2.0
"""Reads the footer of a VHD.

Source: Microsoft, "Virtual Hard Disk Image Format Specification".  A dynamic VHD begins with a copy
of its footer.  A VHD of fixed size, the kind of Azure, is a raw disk with a footer.
"""

from __future__ import annotations

import dataclasses
import enum
import struct

FOOTER_BYTES = 512
COOKIE = b"conectix"

#: Cookie, current size, type of the disk and checksum; the fields between are left out.
_FIELDS = struct.Struct(">8s40xQ4xII")
_CHECKSUM = slice(64, 68)


class Kind(enum.IntEnum):
    """Types of VHD."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footer:
    """The footer of a VHD.

    :param kind: the type of the VHD.
    :param size: the size of the disk in bytes.
    """

    kind: Kind
    size: int


def read_footer(block: bytes) -> Footer | None:
    """Return the footer in a block of :data:`FOOTER_BYTES`; None if the block has none."""
    if len(block) < FOOTER_BYTES or not block.startswith(COOKIE):
        return None
    _cookie, size, kind, checksum = _FIELDS.unpack_from(block)
    total = sum(block) - sum(block[_CHECKSUM])
    if checksum != ~total & 0xFFFFFFFF or kind not in {*Kind}:
        return None
    return Footer(kind=Kind(kind), size=size)
