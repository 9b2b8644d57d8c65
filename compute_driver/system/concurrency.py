# SPDX-License-Identifier: Apache-2.0
"""The only place where this package blocks.

On native threads a blocking call is a plain call.  If eventlet has monkey-patched the process,
the call goes to eventlet's pool of native threads, so that other green threads go on running.
This module imports eventlet only if the process has imported eventlet already: nova on native
threads forbids the import.
"""

from __future__ import annotations

import _imp
import contextlib
import fcntl
import importlib
import os
import select
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from compute_driver.system.filesystem import host_errors, make_directory

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Longest wait of one system call, in seconds: the kernel's limit is 24 days.
LONGEST_WAIT = 86400.0

_registry_guard = threading.Lock()
_registry: dict[str, tuple[threading.Lock, int]] = {}


def is_patched() -> bool:
    """Tell whether eventlet has replaced the threads of this process by green threads."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def native(name: str) -> Any:
    """Return the standard library's module *name*, unpatched even under eventlet.

    The modules that *name* uses are unpatched, too.  For example, eventlet's ``os.write`` waits
    forever on a pipe without a reader.
    """
    if not is_patched():
        return importlib.import_module(name)
    original = sys.modules["eventlet.patcher"].original
    module = original(name)
    for used in ("os", "select", "threading", "time"):
        if isinstance(getattr(module, used, None), types.ModuleType):
            setattr(module, used, original(used))
    return module


def native_library(name: str, *needed: str) -> Any:
    """Import a module of another project with unpatched standard modules, even under eventlet.

    :param name: the module.
    :param needed: the standard modules that *name* needs unpatched.
    """
    if is_patched():
        patcher = sys.modules["eventlet.patcher"]
        return patcher.inject(name, None, *((module, native(module)) for module in needed))
    return importlib.import_module(name)


def run_blocking(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that blocks its native thread, while green threads go on running.

    :return: what the function returns.
    :raises: what the function raises.
    """
    if not is_patched():
        return function(*args, **kwargs)
    from eventlet import sleep, tpool  # the process has imported eventlet already

    # While a thread holds the import lock, tpool calls the function on this thread.
    while _imp.lock_held():
        sleep(0)
    return tpool.execute(function, *args, **kwargs)  # type: ignore[no-any-return]


def within(
    deadline: float, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> bool:
    """Call a function that may hang, and wait for its end until a deadline.

    :param deadline: by :func:`time.monotonic`, in seconds.
    :return: whether the function has ended; if not, it goes on in its own thread.
    :raises: what the function raises before the deadline.
    """
    return not all_within(deadline, lambda call: call(), [lambda: function(*args, **kwargs)])


def all_within(deadline: float, function: Callable[[T], object], values: Sequence[T]) -> list[T]:
    """Call a function that may hang with each value at the same time; wait until a deadline.

    :param deadline: by :func:`time.monotonic`, in seconds.
    :return: the values whose calls have not ended; these calls go on in their own threads.
    :raises: what a call raises before the deadline.
    """
    failures: list[BaseException] = []

    def run(value: T, ended: threading.Event) -> None:
        try:
            function(value)
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it again
            failures.append(error)
        finally:
            ended.set()

    # Not Thread.join: under Python 3.13 eventlet's raises at its timeout.
    calls = [(value, threading.Event()) for value in values]
    for call in calls:
        threading.Thread(target=run, args=call, name="may-hang", daemon=True).start()
    for _, ended in calls:
        ended.wait(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    return [value for value, ended in calls if not ended.is_set()]


def wait_readable(descriptors: Sequence[int], deadline: float) -> list[int]:
    """Wait until at least one descriptor is readable.

    The wait uses no native thread of eventlet: any number of green threads can wait.

    :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
    :return: the readable descriptors; empty after the deadline.
    """
    while True:
        left = max(0.0, deadline - time.monotonic())
        ready = _readable(descriptors, min(left, LONGEST_WAIT))
        if ready or left <= LONGEST_WAIT:
            return ready


def _readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    if is_patched():
        return select.select(descriptors, [], [], seconds)[0]  # eventlet's
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]


class Lock:
    """A held lock, and its file with a note for the next holder.

    :ivar interrupted: the note of a holder that died before its release; empty if no holder died.
    :ivar keep: whether the file and its note stay at release, as if the holder had died.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.interrupted = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        self.keep = False

    def note(self, text: str) -> None:
        """Write what the holder does.  The note stays if the holder dies, and goes at its release.

        :raises HostError: if the file cannot be written.
        """
        with _errors(self._path):
            os.pwrite(self._descriptor, text.encode(), 0)
            os.ftruncate(self._descriptor, len(text.encode()))

    def release(self) -> None:
        """Remove the file, unless :attr:`keep` is set, and let the next holder in."""
        if not self.keep:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[Lock]:
    """Hold the exclusive lock *path* among all threads and processes of the host.

    The holder makes the file and removes it at release.  If a process dies, the kernel drops its
    lock and leaves the file, which tells the next holder about the death.

    :raises HostError: if the file cannot be made.
    """
    # At most one thread per process waits natively for a lock: waiting green threads must not
    # fill eventlet's pool, because the holder needs the pool to make progress.
    with within_process(str(path)):
        held = run_blocking(_acquire, path, fcntl.LOCK_EX)
        try:
            yield held
        finally:
            held.release()


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[Lock | None]:
    """Hold the lock like :func:`lock`, or yield None at once if another holder has it."""
    try:
        held = _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
        return
    try:
        yield held
    finally:
        held.release()


@contextlib.contextmanager
def within_process(name: str) -> Iterator[None]:
    """Exclude all other threads of this process that give the same name."""
    with _registry_guard:
        held, users = _registry.get(name, (threading.Lock(), 0))
        _registry[name] = held, users + 1
    try:
        with held:
            yield
    finally:
        with _registry_guard:
            held, users = _registry.pop(name)
            if users > 1:
                _registry[name] = held, users - 1


def _acquire(path: Path, operation: int) -> Lock:
    while True:
        make_directory(path.parent, 0o700)
        with _errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            # The last holder removed the file: a lock on a removed file locks nothing.
            if os.fstat(descriptor).st_nlink:
                return Lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _errors(path: Path) -> contextlib.AbstractContextManager[None]:
    return host_errors(f"lock {path} cannot be written")
