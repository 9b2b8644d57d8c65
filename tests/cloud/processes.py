# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive their starter, with pid files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.cloud.errors import CloudError
from tests.cloud.layout import MARK, Layout

_POLL_SECONDS = 0.1


def eventually(what: str, seconds: float, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    :param what: name of the condition, for the error
    :param seconds: the longest wait
    :raises CloudError: the condition does not hold in time
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CloudError(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
    """Run a command to its end.

    :param log: file that the output is added to
    :raises CloudError: the command fails
    """
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise CloudError(f"{Path(command[0]).name} failed ({done.returncode}), see {log}")


class Process:
    """A service's main process, running or not."""

    def __init__(self, cloud: Layout, name: str) -> None:
        self.name = name
        self._cloud = cloud
        self._file = cloud.run / f"{name}.pid"
        self.log = cloud.log / f"{name}.out"

    @property
    def pid(self) -> int | None:
        """The process ID; None while the service does not run."""
        try:
            pid, started = self._file.read_text().split()
        except FileNotFoundError:
            return None
        return int(pid) if _started(int(pid)) == started else None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process in its own session, with a new log."""
        own = self._cloud.log / f"{self.name}.log"
        if own.exists():
            own.replace(own.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._cloud.state,
                env=environment,
                start_new_session=True,
            )
        self._file.write_text(f"{process.pid} {_started(process.pid)}")
        # The process outlives this one, and later commands find it by its pid file.
        process.returncode = 0

    def stop(self, seconds: float) -> None:
        """End the process by SIGTERM, and by SIGKILL after *seconds*."""
        pid = self.pid
        if pid is not None:
            end([pid], seconds)
        self._file.unlink(missing_ok=True)


def end(pids: Sequence[int], seconds: float) -> None:
    """End processes by SIGTERM, and by SIGKILL after *seconds*."""
    started = {pid: _started(pid) for pid in pids}

    def ended() -> bool:
        return all(then is None or _started(pid) != then for pid, then in started.items())

    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
        for pid, then in started.items():
            if then is not None and _started(pid) == then:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        with contextlib.suppress(CloudError):
            eventually("an end", patience, ended)
            return


def marked(cloud: Layout) -> list[int]:
    """Return the processes that carry the cloud's mark in their environment."""
    mark = f"{MARK}={cloud.root}".encode()
    return [pid for pid, environment in _environments() if mark in environment.split(b"\0")]


def _environments() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), (folder / "environ").read_bytes()


def _started(pid: int) -> str | None:
    """Return the start time of a process, in clock ticks since the boot; None after its end.

    The time tells a process from a later process with the same ID: proc(5), ``/proc/pid/stat``.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state == "Z":
        # Only the starter of a process can reap it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return None
    return fields[18]
