# SPDX-License-Identifier: Apache-2.0
"""The log of a serial console: reading it, and waiting for a text in it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from compute_driver import exceptions
from compute_driver.libvirt import events
from compute_driver.system import concurrency

# The module uses poll(), which eventlet removes.
inotify_simple = concurrency.native_library("inotify_simple", "select")


def log_files(log: Path) -> list[Path]:
    """Return the files of a console log, oldest first: virtlogd renames to ``.0``, ``.1``..."""
    older = [p for p in log.parent.glob(log.name + ".*") if p.suffix[1:].isdigit()]
    older.sort(key=lambda path: int(path.suffix[1:]), reverse=True)
    return [*older, *([log] if log.exists() else [])]


def read_log(log: Path, max_bytes: int | None = None) -> bytes:
    """Return the whole log, or its last *max_bytes* bytes.

    :raises HostError: if a file of the log cannot be read.
    """
    with _explained(log), contextlib.closing(_Follower(log)) as follower:
        data = follower.read()
    return data if max_bytes is None else data[max(0, len(data) - max_bytes) :]


def wait_for_text(log: Path, text: str, watch: events.Watch, deadline: float, skip: int) -> bool:
    """Return when *text* is in the log, after its first *skip* bytes.

    :param watch: the guest's events; the stop of the guest ends the wait.
    :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
    :return: False if the guest stopped, the connection was lost or the deadline passed first.
    :raises GuestNotFound: if the guest's directory is gone.
    :raises HostError: if the log cannot be read or watched.
    """
    wanted = text.encode()
    with (
        _explained(log),
        inotify_simple.INotify() as notifier,
        contextlib.closing(_Follower(log)) as follower,
    ):
        flags = inotify_simple.flags
        notifier.add_watch(str(log.parent), flags.MODIFY | flags.CREATE | flags.MOVED_TO)
        seen = follower.read()[skip:]
        while wanted not in seen:
            stopped = watch.wait({events.STOPPED}, deadline, notifier.fileno())
            goes_on = not stopped and notifier.read(timeout=0)
            # The text may begin in the bytes before.
            seen = seen[max(0, len(seen) - len(wanted)) :] + follower.read()
            if not goes_on:
                # The guest has stopped or the time is up: the last bytes still count.
                return wanted in seen
    return True


@contextlib.contextmanager
def _explained(log: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise exceptions.GuestNotFound(log.parent.name) from error
    except OSError as error:
        # ENOSPC: inotify has too many watches.  Nothing is written here.
        limits = error.errno in (errno.ENOSPC, errno.EMFILE)
        hint = "; see sysctl fs.inotify and ulimit -n" if limits else ""
        raise exceptions.HostError(
            f"console log {log} cannot be read or watched: {error.strerror}{hint}"
        ) from error


class _Follower:
    """Reads a log from its beginning, and continues when virtlogd renames the files."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # Open files by inode, oldest first.  No new file gets the inode of an open file.
        self._open: dict[int, BinaryIO] = {}

    def read(self) -> bytes:
        """Return the bytes since the last call."""
        fresh: dict[int, BinaryIO] = {}
        listed = set()
        # Newest first: a rename during this loop shows a file twice, but hides none.
        for path in reversed(log_files(self._log)):
            with contextlib.suppress(FileNotFoundError):
                file = path.open("rb")
                inode = os.fstat(file.fileno()).st_ino
                if inode in self._open or inode in listed:
                    file.close()
                else:
                    fresh = {inode: file, **fresh}
                listed.add(inode)
        self._open |= fresh
        data = b"".join(file.read() for file in self._open.values())
        for inode in self._open.keys() - listed:
            self._open.pop(inode).close()
        return data

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
