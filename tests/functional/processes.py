# SPDX-License-Identifier: Apache-2.0
"""Looks at processes that a test did not start itself: daemons and emulators."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path


def mentions(word: str) -> list[str]:
    """Return process ID and command line of every living process whose command line has *word*."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in line and path.parent.name != str(os.getpid()):
                lines.append(f"{path.parent.name} {line}")
    return lines


def ended(pids: Sequence[int], seconds: float) -> bool:
    """Wait until all processes end.

    :param seconds: the longest time to wait.
    :return: whether all processes ended in time.
    """
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(handle):
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
    return True
