# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a guest, and an end for operations that were interrupted.

An operation holds its guest's lock and writes a note into the lock's file.  The kernel drops the
lock of a process that dies, and the file stays: a note in a file without a holder means that
an operation was interrupted.  The next holder of the lock first ends the interrupted operation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.operations import base
from compute_driver.operations.base import freezing, locks, marks, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.need import Need
from compute_driver.operations.base.undo import Undo
from compute_driver.system import concurrency, steps

LOG = logging.getLogger(__name__)

#: Seconds that the recovery of all guests may take before the driver goes on without its end.
_RECOVERY_SECONDS = 60.0

#: Facts that follow the name in a note.
_REMOVE = "remove"
_UNDEFINE = "undefine"

#: Facts of the version whose notes were one word.
_BEFORE = {"spawn": [_REMOVE], "destroy": [_REMOVE], "restore": [_UNDEFINE]}


@dataclasses.dataclass(frozen=True)
class Note:
    """The note of an operation in the file of its lock.

    :param operation: the operation's name, for people to read.
    :param remove: whether an interruption leaves parts of a guest, which recovery removes.
    :param undefine: whether recovery removes the domain after an interruption, and keeps the files.
    """

    operation: str
    remove: bool = False
    undefine: bool = False

    def __str__(self) -> str:
        facts = [_REMOVE] * self.remove + [_UNDEFINE] * self.undefine
        # An empty line ends the note: the rest of a longer, earlier note may follow in the file.
        return "\n".join([self.operation, *facts, "", ""])

    @classmethod
    def read(cls, text: str) -> Note | None:
        """Return the note that a file has, or None."""
        if not text:
            return None
        name, *facts = text.partition("\n\n")[0].split("\n")
        facts = facts if "\n" in text else _BEFORE.get(name, [])
        return cls(name, remove=_REMOVE in facts, undefine=_UNDEFINE in facts)


class Operation:
    """An operation under way on one guest.

    :ivar undo: what to take back if the operation fails.
    """

    def __init__(self, held: concurrency.Lock, name: str) -> None:
        self._held = held
        self._name = name
        self.undo = Undo()

    def note(self, *, remove: bool = False, undefine: bool = False) -> None:
        """Note the operation for the recovery after a sudden death.

        :param remove: whether recovery removes the guest, with all that has its UUID.
        :param undefine: whether recovery removes the domain, if the guest's kept files have a
            description.
        :raises HostError: if the note cannot be written.
        """
        self._held.note(str(Note(self._name, remove=remove, undefine=undefine)))
        steps.announce("noted")


@contextlib.contextmanager
def operation(
    parts: Parts, uuid: str, name: str, *, need: Need = Need.ALL, removes: bool = False
) -> Iterator[Operation]:
    """Let no other operation, of any process, touch the guest meanwhile.

    An operation that fails is undone.  If a part of it cannot be undone, the note stays, and the
    next operation on the guest puts the guest in order.

    :param name: the operation's name, noted for people to read.
    :param need: the parts of the guest that are put in order before, if an operation on the guest
        was interrupted.
    :param removes: whether the operation removes the guest.  If it fails, the next operation
        removes the guest.
    :raises GuestNotFound: if *uuid* is not written as UUIDs of guests are.
    """
    with _forgetting(parts, uuid), _lock(parts, uuid) as held, parts.images.holding(uuid):
        try:
            _end_interrupted(parts, uuid, held, need)
            freezing.mend(parts, uuid)
            if not removes:  # a removal does so itself
                restoring.complete(parts, uuid)
        except exceptions.ComputeDriverError as error:
            if need is not Need.NOTHING:
                raise
            LOG.warning("Guest %s cannot be put in order before its %s: %s", uuid, name, error)
            held.keep = not removes
        under_way = Operation(held, name)
        begun, result = time.monotonic(), "failed"
        LOG.info("Guest %s: %s begins", uuid, name)
        try:
            if not held.keep:  # else the note of the interrupted operation stays
                under_way.note(remove=removes)
        except exceptions.HostError as error:  # a stop or a removal may make room on a full disk
            LOG.warning("Guest %s: the %s goes on without a note: %s", uuid, name, error)
        try:
            with under_way.undo:
                yield under_way
                under_way.undo.commit()
            result = "done"
        except BaseException:
            # The operation has not ended the run, and no mender has put the run in order.
            left = held.interrupted and need is not Need.ALL
            held.keep = held.keep or removes or bool(left or marks.find(parts, uuid))
            raise
        finally:
            held.keep = held.keep or under_way.undo.failed
            LOG.info("Guest %s: %s %s after %.1f s", uuid, name, result, time.monotonic() - begun)


@contextlib.contextmanager
def exclusive(parts: Parts, uuid: str) -> Iterator[None]:
    """Let no operation touch the guest meanwhile, as its caller only looks at the guest.

    :raises GuestNotFound: if *uuid* is not written as UUIDs of guests are.
    """
    with _forgetting(parts, uuid), _lock(parts, uuid) as held:
        _end_interrupted(parts, uuid, held)
        freezing.mend(parts, uuid, left_only=True)
        yield


@contextlib.contextmanager
def unless_busy(parts: Parts, uuid: str, need: Need = Need.ALL) -> Iterator[bool]:
    """Like :func:`exclusive`, but yield False at once if an operation on the guest is under way.

    If an interrupted operation cannot be ended now, because libvirt does not answer, say, the next
    caller tries again.

    :param need: the parts of the guest that are put in order; a later caller ends the others.
    """
    with _forgetting(parts, uuid), concurrency.try_lock(locks.guest(parts, uuid)) as held:
        if held is not None:
            try:
                if not _end_interrupted(parts, uuid, held, need):
                    held.keep = True
                freezing.mend(parts, uuid, left_only=True)
            except exceptions.ComputeDriverError as error:
                LOG.warning("Guest %s cannot be put in order yet: %s", uuid, error)
        yield held is not None


def recover(parts: Parts, need: Need = Need.ALL) -> None:
    """End every interrupted operation of this driver; operations under way are left alone.

    A guest that takes too long is put in order in the background.

    :param need: see :func:`unless_busy`.
    :raises ComputeDriverError: if the notes of operations are not readable, and libvirt is not
        usable either.
    """
    try:
        locks.release_ports(parts)
        uuids = sorted({*locks.guests(parts), *freezing.marked(parts)})
    except OSError as error:
        parts.connection.run(lambda _connection: None)  # its error says more
        LOG.warning("Interrupted operations cannot be looked for: %s", error)
        return
    deadline = time.monotonic() + _RECOVERY_SECONDS
    for uuid in concurrency.all_within(deadline, functools.partial(_recover, parts, need), uuids):
        LOG.warning("Guest %s is not in order yet: its recovery goes on in the background", uuid)


def _recover(parts: Parts, need: Need, uuid: str) -> None:
    try:
        with unless_busy(parts, uuid, need):
            pass
    except (OSError, exceptions.HostError) as error:
        LOG.warning("Guest %s cannot be looked at: %s", uuid, error)


@contextlib.contextmanager
def _forgetting(parts: Parts, uuid: str) -> Iterator[None]:
    """Ask libvirt about the guest again afterwards: the events of changes may come later."""
    try:
        yield
    finally:
        parts.connection.known.forget(uuid)


def _lock(parts: Parts, uuid: str) -> contextlib.AbstractContextManager[concurrency.Lock]:
    if not is_uuid(uuid) or uuid != uuid.lower():
        raise exceptions.GuestNotFound(uuid)  # the text could name another file
    return concurrency.lock(locks.guest(parts, uuid))


def _end_interrupted(
    parts: Parts, uuid: str, held: concurrency.Lock, need: Need = Need.ALL
) -> bool:
    """End the interrupted operation, if there is one; tell whether nothing of it is left."""
    note = Note.read(held.interrupted)
    if note is None:
        return True
    held.keep = True
    if note.remove:
        LOG.warning("Removing guest %s: its %s was interrupted", uuid, note.operation)
        base.removal.remove(parts, uuid)
    else:
        # A driver recovers the files first and the run later: one warning is enough.
        level = logging.WARNING if need is Need.ALL else logging.INFO
        LOG.log(level, "Putting guest %s in order: its %s was interrupted", uuid, note.operation)
        if note.undefine:
            base.removal.undefine_kept(parts, uuid)
        base.recovery.mend(parts, uuid, need)
    held.keep = False
    return note.remove or need is Need.ALL
