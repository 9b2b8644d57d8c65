# SPDX-License-Identifier: Apache-2.0
"""Units, upper bounds, and the refusal of values that can never work."""

from __future__ import annotations

import re
import uuid as uuidlib

from compute_driver import exceptions

MIB = 1024**2
GIB = 1024**3

#: Upper bounds that catch a wrong unit; the real limits of hosts are far lower.
MAX_MEMORY_MIB = 64 * 1024**2
MAX_DISK_BYTES = 8 * 1024 * 1024 * GIB
MAX_VCPUS = 4096
MAX_NAME_BYTES = 128
MAX_USER_DATA_BYTES = 65535

#: Names of CPU models, of CPU features and of machine types.
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def is_uuid(text: str) -> bool:
    """Tell whether *text* is a UUID in its canonical form (36 characters)."""
    try:
        return str(uuidlib.UUID(text)) == text.lower()
    except ValueError:
        return False


def shown_size(size_bytes: int) -> str:
    """Return the size of a disk for messages."""
    return f"{size_bytes / GIB:.2f} GiB ({size_bytes} bytes)"


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


def require_whole(field: str, value: int | None, low: int, high: int, unit: str) -> None:
    """Refuse a value that is no whole number, or out of its bounds; None is accepted."""
    sound = value is None or (type(value) is int and low <= value <= high)
    require(sound, field, value, f"a whole number of {unit}, {low} to {high}")
