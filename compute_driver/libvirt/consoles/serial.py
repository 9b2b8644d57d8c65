# SPDX-License-Identifier: Apache-2.0
"""The serial console: its log on disk, waiting for a text in it, and the interactive session."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import libvirt
from lxml import etree

from compute_driver import consoles, driver, exceptions
from compute_driver.info import Address
from compute_driver.libvirt import events
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.consoles import serial_socket
from compute_driver.system import concurrency
from compute_driver.xml import console

_CHUNK = 65536

#: What ``virStreamRecv`` returns when there is nothing yet.
_WOULD_BLOCK = -2
_SOMETHING = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_ERROR
    | libvirt.VIR_STREAM_EVENT_HANGUP
)

# Eventlet takes poll() away, which it is made with.
inotify_simple = concurrency.native_library("inotify_simple", "select")


def parts(log: Path) -> list[Path]:
    """Return the files of a console log, oldest first: virtlogd rotates to ``.0``, ``.1``..."""
    older = [p for p in log.parent.glob(log.name + ".*") if p.suffix[1:].isdigit()]
    older.sort(key=lambda path: int(path.suffix[1:]), reverse=True)
    return [*older, *([log] if log.exists() else [])]


def read(log: Path, max_bytes: int | None = None) -> bytes:
    """Return the whole log, or its last *max_bytes* bytes.

    :raises HostError: if it cannot be read.
    """
    with _explained(log), contextlib.closing(_Follower(log)) as follower:
        data = follower.read()
    return data if max_bytes is None else data[max(0, len(data) - max_bytes) :]


def wait_for(log: Path, text: str, watch: events.Watch, deadline: float, skip: int) -> bool:
    """Return when the log shows *text* after its first *skip* bytes.

    :param watch: events of the guest; it wakes the wait when the guest stops.
    :return: False if the guest stopped, the connection was lost, or the deadline (by
        :func:`time.monotonic`) passed before.
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
            # The text may have begun in what was read before.
            seen = seen[max(0, len(seen) - len(wanted)) :] + follower.read()
            if not goes_on:
                # Stopped, or too late: what was written last still counts.
                return wanted in seen
    return True


@contextlib.contextmanager
def _explained(log: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise exceptions.GuestNotFound(log.parent.name) from error
    except OSError as error:
        # ENOSPC is inotify's word for too many watches: nothing is written here.
        limits = error.errno in (errno.ENOSPC, errno.EMFILE)
        hint = "; see sysctl fs.inotify and ulimit -n" if limits else ""
        raise exceptions.HostError(
            f"console log {log} cannot be read or watched: {error.strerror}{hint}"
        ) from error


class _Follower:
    """Reads a log from its beginning and then on and on, over rotations."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # The parts by inode, oldest first: a number is not used again while its file is open.
        self._open: dict[int, BinaryIO] = {}

    def read(self) -> bytes:
        """Return what was written since the last time."""
        fresh: dict[int, BinaryIO] = {}
        listed = set()
        # Newest first: should a rotation come between, a part is met twice and none is missed.
        for path in reversed(parts(self._log)):
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
        """Close the parts."""
        for file in self._open.values():
            file.close()


def address(domain: libvirt.virDomain) -> Address:
    """Return where the serial console of a running domain is served by TCP.

    :raises ConsoleUnavailable: if it is not.
    """
    found = console.address(etree.fromstring(domain.XMLDesc()))
    if found is None or not found.port:
        raise consoles.no_address(str(domain.name()))
    return found


def attach(gateway: Connection, uuid: str) -> driver.ConsoleSession:
    """Open the interactive console of a running guest.

    :raises GuestBusy: if somebody else has it open.
    """

    def find(shared: libvirt.virConnect) -> Address | None:
        xml = shared.lookupByUUIDString(uuid).XMLDesc()
        return console.address(etree.fromstring(xml))

    found = gateway.run(find)
    if found is not None:
        return serial_socket.Session(found, uuid)
    return gateway.run(lambda _shared: Session(gateway.open(), uuid))


class Session(driver.ConsoleSession):
    """An interactive console over a libvirt stream.

    The stream does not block: libvirt 9.0's client overlooks what arrives just before a thread
    begins to wait in ``virStreamRecv``, until more arrives.

    :param connection: a connection of its own; closed with the session.
    :param uuid: the guest.
    """

    def __init__(self, connection: libvirt.virConnect, uuid: str) -> None:
        self._connection = connection
        self._stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        try:
            domain = connection.lookupByUUIDString(uuid)
            domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
        except libvirt.libvirtError as error:
            connection.close()
            if "Active console session" in str(error):
                raise exceptions.GuestBusy(
                    f"the console of guest {uuid} is open elsewhere; close it there first"
                ) from error
            raise
        #: Becomes readable when the stream does, or has ended.
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for descriptor in (self._woken, self._waker):
            weakref.finalize(self, os.close, descriptor)  # a receiver may still wait at close
        self._stream.eventAddCallback(0, _wake, self._waker)

    def receive(self) -> bytes:
        """Return what the guest wrote next; empty once the console has ended."""
        try:
            while (data := concurrency.run_blocking(self._stream.recv, _CHUNK)) == _WOULD_BLOCK:
                self._stream.eventUpdateCallback(_SOMETHING)
                concurrency.wait_readable([self._woken], math.inf)
                os.read(self._woken, 4096)
        except libvirt.libvirtError:
            return b""
        return bytes(data)

    def send(self, data: bytes) -> None:
        """Type *data* at the guest's console."""
        while data:
            try:
                sent = concurrency.run_blocking(self._stream.send, data)
            except libvirt.libvirtError as error:
                raise exceptions.GuestError(f"the console has ended: {error}") from error
            data = data[sent:]

    def close(self) -> None:
        """End the session."""
        concurrency.run_blocking(self._close)

    def _close(self) -> None:
        for end in (self._stream.eventRemoveCallback, self._stream.abort, self._connection.close):
            with contextlib.suppress(libvirt.libvirtError):  # it had ended by itself
                end()
        os.write(self._waker, b"\0")


def _wake(stream: libvirt.virStream, events: int, waker: int) -> None:
    stream.eventUpdateCallback(0)  # it would call again at once
    os.write(waker, b"\0")
