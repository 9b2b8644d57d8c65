# SPDX-License-Identifier: Apache-2.0
"""Events of domains, and waiting for them.

libvirt's event loop runs on one native thread and calls back there.  The callbacks store the event
and wake the waiting threads, whose wait by :mod:`compute_driver.system.concurrency` has a deadline.

Source: libvirt's "Event loop" and "virConnectDomainEventRegisterAny".
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import libvirt

from compute_driver.libvirt.known import Known
from compute_driver.system import concurrency

REBOOT = -1
#: A job of the domain's emulator, such as a backup, has ended.
JOB_ENDED = -2
DEVICE_REMOVED = -3
STOPPED = libvirt.VIR_DOMAIN_EVENT_STOPPED

_threading = concurrency.native("threading")
_loop_guard = _threading.Lock()
_loop_runs = False


def ensure_loop() -> None:
    """Start libvirt's event loop in this process, before the first connection opens."""
    global _loop_runs
    with _loop_guard:
        if not _loop_runs:
            # Errors come as exceptions; without a handler libvirt also prints them on stderr.
            libvirt.registerErrorHandler(lambda context, error: None, None)
            libvirt.virEventRegisterDefaultImpl()
            _threading.Thread(target=_run_loop, name="libvirt-events", daemon=True).start()
            _loop_runs = True


def _run_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def close_quietly(connection: libvirt.virConnect) -> None:
    """Close a connection, even a lost one."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def job_failure(outcome: Mapping[str, Any]) -> str:
    """Return why a job failed, from its final statistics; empty if the job succeeded."""
    if outcome.get(libvirt.VIR_DOMAIN_JOB_SUCCESS):
        return ""
    return str(outcome.get(libvirt.VIR_DOMAIN_JOB_ERRMSG) or "libvirt does not say why")


@dataclasses.dataclass(frozen=True)
class Event:
    """An event of a domain.

    :param kind: a ``VIR_DOMAIN_EVENT_*`` lifecycle number, :data:`REBOOT`, :data:`JOB_ENDED` or
        :data:`DEVICE_REMOVED`.
    :param detail: the cause, by libvirt's numbers for this kind; of a job, its
        ``VIR_DOMAIN_JOB_OPERATION_*`` number.
    :param uuid: UUID of the domain.
    :param failure: why a job failed; empty if the job succeeded.
    :param device: libvirt's alias of a removed device.
    """

    kind: int
    detail: int = 0
    uuid: str = ""
    failure: str = ""
    device: str = ""


class Watch:
    """The events of one domain, or of all domains, since the watch began."""

    def __init__(self) -> None:
        # None stands for a lost connection, which may have lost events.
        self._events: collections.deque[Event | None] = collections.deque()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def push(self, event: Event | None) -> None:
        """Store an event, or None for a lost connection, and wake the waiting thread."""
        self._events.append(event)
        os.write(self._writer, b"\0")

    def wait(
        self, kinds: Collection[int], deadline: float, descriptor: int | None = None
    ) -> Event | None:
        """Wait for the next event of one of *kinds*.

        :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
        :param descriptor: a descriptor that also ends the wait when it becomes readable.
        :return: the event; None if the descriptor is readable, the deadline has passed or the
            connection was lost (the caller then asks libvirt for the state).
        """
        watched = [self._reader] if descriptor is None else [self._reader, descriptor]
        while True:
            while self._events:
                event = self._events.popleft()
                if event is None or event.kind in kinds:
                    return event
            if self._reader not in concurrency.wait_readable(watched, deadline):
                return None
            os.read(self._reader, 4096)

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self._writer)


class Dispatcher:
    """Passes the events of one connection to the watches.

    :param known: what libvirt has told about domains, of which changed domains are forgotten.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._guard = _threading.Lock()
        self._watches: dict[str | None, set[Watch]] = {}
        self._source: libvirt.virConnect | None = None
        self._callbacks: list[int] = []
        self._lost = False

    def register(self, connection: libvirt.virConnect) -> None:
        """Receive the events of *connection*, which :meth:`unregister` closes."""
        self._source, self._lost = connection, False
        for number, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._job_ended),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._device_removed),
            (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, self._described),
        ):
            self._callbacks.append(connection.domainEventRegisterAny(None, number, callback, None))
        connection.registerCloseCallback(self._closed, None)
        self._known.listen()
        if not connection.isAlive():  # the connection was lost before the answers are kept
            self._known.forget_all()

    def unregister(self) -> None:
        """Remove the callbacks, which keep the connection open, and close the connection."""
        source, self._source = self._source, None
        callbacks, self._callbacks = self._callbacks, []
        if source is None:
            return
        if not self._lost:
            self._lose()
        for callback in callbacks:
            with contextlib.suppress(libvirt.libvirtError):  # the connection may be lost
                source.domainEventDeregisterAny(callback)
        with contextlib.suppress(libvirt.libvirtError):
            source.unregisterCloseCallback()
        close_quietly(source)

    @contextlib.contextmanager
    def watch(self, uuid: str | None) -> Iterator[Watch]:
        """Collect the events of one domain; enter before the action that causes the events.

        :param uuid: UUID of the domain; None for all domains.
        """
        watch = Watch()
        with self._guard:
            self._watches.setdefault(uuid, set()).add(watch)
        try:
            yield watch
        finally:
            with self._guard:
                self._watches[uuid].discard(watch)
                if not self._watches[uuid]:
                    del self._watches[uuid]
                watch.close()

    def _lifecycle(
        self, connection: object, domain: libvirt.virDomain, kind: int, detail: int, opaque: object
    ) -> None:
        self._known.forget(domain.UUIDString())
        self._push(Event(kind, detail, domain.UUIDString()))

    def _described(
        self, connection: object, domain: libvirt.virDomain, kind: int, uri: str, opaque: object
    ) -> None:
        self._known.forget(domain.UUIDString())

    def _reboot(self, connection: object, domain: libvirt.virDomain, opaque: object) -> None:
        self._push(Event(REBOOT, uuid=domain.UUIDString()))

    def _job_ended(
        self,
        connection: object,
        domain: libvirt.virDomain,
        outcome: Mapping[str, Any],
        opaque: object,
    ) -> None:
        operation = outcome.get(libvirt.VIR_DOMAIN_JOB_OPERATION, 0)
        self._push(Event(JOB_ENDED, operation, domain.UUIDString(), job_failure(outcome)))

    def _device_removed(
        self, connection: object, domain: libvirt.virDomain, alias: str, opaque: object
    ) -> None:
        self._push(Event(DEVICE_REMOVED, uuid=domain.UUIDString(), device=alias))

    def _closed(self, connection: object, reason: int, opaque: object) -> None:
        self._lose()

    def _lose(self) -> None:
        """Tell all watches that events may be lost."""
        self._lost = True
        self._known.forget_all()
        with self._guard:
            for watches in self._watches.values():
                for watch in watches:
                    watch.push(None)

    def _push(self, event: Event) -> None:
        with self._guard:
            for key in (event.uuid, None):
                for watch in self._watches.get(key, ()):
                    watch.push(event)
