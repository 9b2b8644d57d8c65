# SPDX-License-Identifier: Apache-2.0
"""The status of processes.

The supervisor imports this module without the rest of the package: the module uses only the
standard library.

Source: proc_pid_stat(5).
"""

from __future__ import annotations

from pathlib import Path

#: Places of facts among the fields of a status.
STATE, PARENT, START = 0, 1, 19


def stat_path(pid: int) -> Path:
    """Return the file that has the status of a process."""
    return Path("/proc", str(pid), "stat")


def stat_fields(pid: int) -> list[str]:
    """Return the fields of a process's status, from the state on.

    :raises OSError: if there is no such process.
    """
    return split(stat_path(pid).read_bytes())


def split(status: bytes) -> list[str]:
    """Return the fields of the text of a status, from the state on."""
    # The name of the program may have spaces and parentheses.
    return status.rpartition(b")")[2].decode().split()
