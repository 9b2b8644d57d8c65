# SPDX-License-Identifier: Apache-2.0
"""Whether two hosts have the same directory of an instance: a file that one makes, the other sees.

Nova asks before it has the files of an instance removed that lives elsewhere, or in another size.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_FILENAME = "filename"


def mark(directory: Path) -> dict[str, str] | None:
    """Make a file to be looked for; None if there is no such directory."""
    if not directory.exists():
        return None
    descriptor, name = tempfile.mkstemp(prefix=".shared-", dir=directory)
    os.close(descriptor)
    return {_FILENAME: name}


def is_seen(marked: dict[str, str]) -> bool:
    """Tell whether the file that :func:`mark` made is seen here."""
    return Path(marked[_FILENAME]).exists()


def unmark(marked: dict[str, str]) -> None:
    """Remove the file that :func:`mark` made."""
    Path(marked[_FILENAME]).unlink(missing_ok=True)
