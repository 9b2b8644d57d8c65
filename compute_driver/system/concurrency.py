# SPDX-License-Identifier: Apache-2.0
"""The one place where this package blocks.

On native threads a blocking call is a plain call.  Where eventlet has monkey-patched the process,
the call goes to eventlet's pool of native threads so that other green threads run meanwhile.
Eventlet is never imported unless the process has imported it itself: nova on native threads
forbids that import.
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

#: Seconds that are waited at once: the kernel's limit is 24 days.
_LONGEST_WAIT = 86400.0

_registry_guard = threading.Lock()
_registry: dict[str, tuple[threading.Lock, int]] = {}


def is_patched() -> bool:
    """Tell whether eventlet has replaced this process's threads by green ones."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def native(name: str) -> Any:
    """Return the standard library's module *name*, unpatched even under eventlet.

    So are the modules that it uses: eventlet's ``os.write``, for one, waits for good to write to a
    pipe that nobody reads any more.
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
    """Return a module of another project, whose standard modules are unpatched even under eventlet.

    :param name: the module.
    :param needed: those of the standard library's modules that it cannot do with patched.
    """
    if is_patched():
        patcher = sys.modules["eventlet.patcher"]
        return patcher.inject(name, None, *((each, native(each)) for each in needed))
    return importlib.import_module(name)


def run_blocking(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that blocks its native thread, without stopping green threads.

    :return: what the function returns.
    :raises: what the function raises.
    """
    if not is_patched():
        return function(*args, **kwargs)
    from eventlet import sleep, tpool  # the process has imported eventlet already

    # While any thread looks for a module to import, tpool would make the call on this one.
    while _imp.lock_held():
        sleep(0)
    return tpool.execute(function, *args, **kwargs)  # type: ignore[no-any-return]


def within(
    deadline: float, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> bool:
    """Call a function that may hang for good, and wait for it no longer than until a deadline.

    :param deadline: by :func:`time.monotonic`, in seconds.
    :return: whether it has ended; if not, it goes on in a thread of its own.
    :raises: what the function raises by then.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            failures.append(error)

    thread = threading.Thread(target=run, name="may-hang", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    return not thread.is_alive()


def wait_readable(descriptors: Sequence[int], deadline: float) -> list[int]:
    """Return those descriptors that can be read, as soon as there are any.

    Takes none of eventlet's native threads: however many wait, others get on.

    :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
    """
    while True:
        left = max(0.0, deadline - time.monotonic())
        ready = _readable(descriptors, min(left, _LONGEST_WAIT))
        if ready or left <= _LONGEST_WAIT:
            return ready


def _readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    if is_patched():
        return select.select(descriptors, [], [], seconds)[0]  # eventlet's
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]


class Lock:
    """A lock that is held: its file, which tells the next holder what was going on.

    :ivar interrupted: the note of a holder that died without releasing; empty if there was none.
    :ivar keep: whether the file and its note stay at release, as if the holder had died.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.interrupted = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        self.keep = False

    def note(self, text: str) -> None:
        """Write what the holder is doing; it outlives the holder's death, not its release.

        :raises HostError: if it cannot be written.
        """
        with _errors(self._path):
            os.pwrite(self._descriptor, text.encode(), 0)
            os.ftruncate(self._descriptor, len(text.encode()))

    def release(self) -> None:
        """Remove the file, unless it is to be kept, and let the next one in."""
        if not self.keep:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[Lock]:
    """Hold the exclusive lock that *path* names, among all threads and processes of the host.

    The file is made on demand and removed at release.  The kernel drops the lock of a process
    that dies, but leaves the file: that is how the next holder learns of it.

    :raises HostError: if the file cannot be made.
    """
    # One native wait per process and lock at most: waiting green threads must not fill
    # eventlet's pool, which the holder needs to make progress.
    with within_process(str(path)):
        held = run_blocking(_acquire, path, fcntl.LOCK_EX)
        try:
            yield held
        finally:
            held.release()


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[Lock | None]:
    """Like :func:`lock`, but yield None at once if somebody holds it."""
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
    """Let no other thread of this process in that gives the same name."""
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
            # A holder removes the file as it leaves: a lock on a removed file locks nothing.
            if os.fstat(descriptor).st_nlink:
                return Lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _errors(path: Path) -> contextlib.AbstractContextManager[None]:
    return host_errors(f"lock {path} cannot be written")
