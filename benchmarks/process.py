# SPDX-License-Identifier: Apache-2.0
"""Processor time of a guest's QEMU, with any starter.

Source: proc(5), ``/proc/PID/stat`` and ``cmdline``.
"""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def find(uuid: str) -> int:
    """Return the process ID of the QEMU whose command line names a guest.

    :raises LookupError: if no process does.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # the process has ended
            continue
        if uuid.encode() in words:
            return int(entry.name)
    raise LookupError(f"no process for guest {uuid}")


def cpu_seconds(pid: int) -> float:
    """Return the processor seconds, user and system, of all threads of a process."""
    return parse(Path(f"/proc/{pid}/stat").read_text()) / _TICKS


def parse(stat: str) -> int:
    """Return user and system time in clock ticks, from the text of ``/proc/PID/stat``."""
    # The second field, in parentheses, is a name that may have blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
