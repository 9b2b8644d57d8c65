# SPDX-License-Identifier: Apache-2.0
"""Units, upper bounds, and the refusal of values that can never work."""

from __future__ import annotations

import re
import uuid as uuidlib
from collections.abc import Mapping

from compute_driver import exceptions
from compute_driver.choices import FileSystem

MIB = 1024**2
GIB = 1024**3

#: The largest disk of qcow2 with clusters of 64 KiB, which is QEMU's default: the table of the
#: first level has at most 32 MiB, and each of its 8-byte entries stands for 512 MiB.  Sources:
#: QEMU's docs/interop/qcow2.txt, and QCOW_MAX_L1_SIZE of block/qcow2.h.
MAX_DISK_BYTES = 2 * 1024 * 1024 * GIB

#: Upper bounds that catch a wrong unit; the real limits of hosts are far lower.
MAX_MEMORY_MIB = 64 * 1024**2
MAX_VCPUS = 4096
MAX_NAME_BYTES = 128
MAX_USER_DATA_BYTES = 65535

#: The smallest disks with a file system, where that is more than :data:`MIB`: a smaller ext3 has no
#: journal, and a smaller XFS or NTFS cannot be made.
MIN_BYTES: Mapping[FileSystem | None, int] = {
    FileSystem.EXT3: 2 * MIB,
    FileSystem.NTFS: 2 * MIB,
    FileSystem.XFS: 300 * MIB,
}

#: Names of CPU models, of CPU features and of machine types.
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

#: The digits of a UUID, and all that forms of UUIDs have beside the digits.
_UUID_DIGITS = re.compile(r"[0-9a-fA-F]{32}")
_UUID_SIGNS = re.compile(r"urn:|uuid:|[{}-]")

#: Text of XML 1.0, section 2.2, without control characters.
_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]*")


def is_uuid(text: str) -> bool:
    """Tell whether *text* is a UUID in its canonical form (36 characters)."""
    return as_uuid(text) == text.lower()


def as_uuid(text: str) -> str | None:
    """Return a UUID in its canonical form, in lower case; None for any other text.

    :param text: a UUID in any case, with its hyphens or without.
    """
    try:
        canonical = str(uuidlib.UUID(text))
    except ValueError:
        return None
    return canonical if text.lower() in (canonical, canonical.replace("-", "")) else None


def resembles_uuid(text: str) -> bool:
    """Tell whether a program may read *text* as a UUID, in any form.

    libvirt's tools read hyphens at any place, or no hyphens; Python reads braces and URNs, too.
    Sources: libvirt's virUUIDParse; Python's :class:`uuid.UUID`.
    """
    return _UUID_DIGITS.fullmatch(_UUID_SIGNS.sub("", text)) is not None


def shown_size(size_bytes: int) -> str:
    """Return a size for messages: in the largest unit of which it has one, and in bytes."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.2f} {unit} ({size_bytes} bytes)"
    return f"{size_bytes} bytes"


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Refuse a value unless a condition holds.

    :param accepted: the accepted values, in words.
    :raises InvalidParameter: if the condition is false.
    """
    if not condition:
        raise exceptions.InvalidParameter(field, value, accepted)


def require_match(pattern: re.Pattern[str], field: str, value: str | None, accepted: str) -> None:
    """Refuse a text that the whole pattern does not match; None is accepted."""
    require(value is None or pattern.fullmatch(value) is not None, field, value, accepted)


def require_text(field: str, value: str | None, what: str) -> None:
    """Refuse a text that XML and calls of the C library cannot carry; None is accepted.

    :param what: what the text is, for the error.
    """
    require_match(_TEXT, field, value, f"{what} of Unicode text without control characters")


def require_whole(field: str, value: int | None, low: int, high: int, unit: str) -> None:
    """Refuse a value that is no whole number, or out of its bounds; None is accepted."""
    sound = value is None or (type(value) is int and low <= value <= high)
    require(sound, field, value, f"a whole number of {unit}, {low} to {high}")
