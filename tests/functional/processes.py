# SPDX-License-Identifier: Apache-2.0
"""Looks at processes that a test did not start itself: daemons and emulators."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path

from compute_driver.libvirt.daemon import EmbeddedDaemon
from compute_driver.libvirt.embedded import orphans


def mentions(word: str) -> list[str]:
    """Return process ID and command line of every living process whose command line has *word*."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in line and path.parent.name != str(os.getpid()):
                lines.append(f"{path.parent.name} {line}")
    return lines


def daemon_pid(state: Path, name: str = "libvirtd") -> int:
    """Return the process ID of a daemon of the embedded libvirt that serves a state directory."""
    supervisor = EmbeddedDaemon(state).pid
    assert supervisor is not None
    runtime = state / "libvirt" / "run" / "libvirt"
    pid = orphans.read_pid(orphans.pid_file(runtime, name, supervisor))
    assert pid is not None, name
    return pid


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
