# SPDX-License-Identifier: Apache-2.0
"""Daemons that have outlived their supervisor: an embedded libvirt finds and ends them.

A daemon holds a lock on its PID file, so that the file of a daemon that runs is known for sure.
The name of the file has the supervisor's process ID.

The supervisor imports this module: the module and its imports use only the standard library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import select
import signal
import stat
from collections import Counter
from pathlib import Path

from compute_driver.system import processes


def pid_file(runtime: Path, name: str, supervisor: int) -> Path:
    """Return the PID file of a daemon.

    :param runtime: the directory of PID files.
    :param name: name of the daemon.
    :param supervisor: process ID of the supervisor that starts the daemon.
    """
    return runtime / f"{name}-{supervisor}.pid"


def read_pid(path: Path) -> int | None:
    """Return the process ID of the daemon with this PID file; None if the daemon does not run."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(path, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except BlockingIOError:
            return int(file.read())
    return None


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for descriptor in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(wanted, descriptor.stat()):
                    return True
    return False


@dataclasses.dataclass(frozen=True)
class Orphan:
    """A daemon without its supervisor.

    :param pid: its process ID.
    :param handle: a descriptor of the process, see pidfd_open(2).
    """

    pid: int
    handle: int

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def ended(self, seconds: float) -> bool:
        """Wait for the end of the process; tell whether it came in time."""
        return bool(select.select([self.handle], [], [], seconds)[0])

    def logs_a_guest(self) -> bool:
        """Tell whether a guest writes to this virtlogd.

        virtlogd has both ends of its own pipes, and one end of a guest's pipe.  virtlogd closes the
        pipe of a guest that has ended.
        """
        ends: Counter[int] = Counter()
        with contextlib.suppress(FileNotFoundError):  # the process has ended
            for entry in Path("/proc", str(self.pid), "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    ends[status.st_ino] += stat.S_ISFIFO(status.st_mode)
        return 1 in ends.values()


def find(runtime: Path, name: str) -> list[Orphan]:
    """Return the daemons with this name that have outlived their supervisors.

    A supervisor that only waits for the end of its guests still has its virtlogd.
    """
    examined = (_examine(path, runtime, name) for path in runtime.glob(f"{name}-*.pid"))
    return [orphan for orphan in examined if orphan is not None]


def _examine(path: Path, runtime: Path, name: str) -> Orphan | None:
    pid = read_pid(path)
    if pid is None:
        path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the daemon has just ended
        if path == pid_file(runtime, name, int(processes.stat_fields(pid)[processes.PARENT])):
            return None
        handle = os.pidfd_open(pid)
        if read_pid(path) == pid:
            return Orphan(pid, handle)
        os.close(handle)
    return None
