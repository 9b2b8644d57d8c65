# SPDX-License-Identifier: Apache-2.0
"""Reads console logs that are root's, as nova does: through its privileged helper."""

from __future__ import annotations

from pathlib import Path

import nova.privsep.path

from compute_driver.libvirt import console


def last_bytes(log: Path, max_bytes: int) -> bytes:
    """Return the end of a console log that only root may read, over its rotated parts.

    libvirt's virtlogd makes the file, for root alone, in a directory that is nova's.
    """
    data = b""
    for path in reversed(console.parts(log)):
        if len(data) < max_bytes:
            found, _more = nova.privsep.path.last_bytes(str(path), max_bytes - len(data))
            data = found + data
    return data
