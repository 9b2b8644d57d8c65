# SPDX-License-Identifier: Apache-2.0
"""Processes that tests wait for."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable


def ended(pids: Iterable[int], seconds: float) -> bool:
    """Wait until all processes have ended; tell whether they have within *seconds*."""
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
