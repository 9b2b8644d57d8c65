# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a guest, and an end for those that were interrupted.

Every operation holds its guest's lock and notes its name in the lock's file: ``spawn`` when it
begins to make what was not there, others at once.  The file of a process that dies stays, but
nobody holds it: so that operation was interrupted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.operations.base import (
    disk_copy,
    freezing,
    kept_files,
    plugging,
    removal,
    rescue_files,
    settling,
)
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.undo import Undo
from compute_driver.system import concurrency

LOG = logging.getLogger(__name__)

#: Operations that, interrupted, leave what is no guest yet or no longer.
_REMOVING = frozenset({"spawn", "destroy"})

#: Those that, interrupted, leave a guest to be put in order, and what does.
_MENDED: Mapping[str, Callable[[Parts, str], None]] = {
    **dict.fromkeys(
        ("attach_interface", "detach_interface", "start", "resume", "reboot"), plugging.mend
    ),
    **dict.fromkeys(("rescue", "unrescue"), rescue_files.mend),
    **dict.fromkeys(("resize", "confirm_resize", "revert_resize"), settling.mend),
    "snapshot": disk_copy.mend,
    "restore": kept_files.mend,
}


@contextlib.contextmanager
def exclusive(parts: Parts, uuid: str, operation: str | None = None) -> Iterator[concurrency.Lock]:
    """Let no other operation, of any process, touch the guest meanwhile.

    :param operation: its name, noted for whoever comes after a sudden death; None if the caller
        notes it when the time has come.
    :raises GuestNotFound: if *uuid* is none as guests have them, and could name other files.
    """
    if not is_uuid(uuid) or uuid != uuid.lower():
        raise exceptions.GuestNotFound(uuid)
    with concurrency.lock(_directory(parts) / uuid) as held, parts.images.holding():
        try:
            _mend(parts, uuid, held)
            freezing.mend(parts, uuid, left_only=operation is None)
        except exceptions.ComputeDriverError as error:
            if operation != "destroy":
                raise
            LOG.warning("Guest %s is removed without being put in order: %s", uuid, error)
            held.keep = False
        if operation is not None:
            _note(held, uuid, operation)
        try:
            yield held
        except BaseException:
            # What was not removed to the end will be by the next one.
            held.keep = held.keep or operation in _REMOVING
            raise


@contextlib.contextmanager
def making(held: concurrency.Lock, operation: str = "spawn") -> Iterator[Undo]:
    """Note that a guest is made from now on; on failure undo what was registered.

    The note stays if something could not be undone, for the next one to do it.

    :param held: the guest's lock; whoever finds its note removes whatever has that UUID, so
        nothing may have it yet.
    :param operation: another name leaves what was made when a process dies; "restore" leaves
        the files, but no domain.
    :raises HostError: if the note cannot be written.
    """
    held.note(operation)
    undo = Undo()
    try:
        with undo:
            yield undo
    finally:
        held.keep = undo.failed


def recover(parts: Parts) -> None:
    """End every interrupted operation of this driver; those that go on are left alone."""
    directory = _directory(parts)
    try:
        interrupted = [path.name for path in directory.iterdir()] if directory.is_dir() else []
        for uuid in {*interrupted, *freezing.marked(parts)}:
            with unless_busy(parts, uuid):
                continue
    except (OSError, exceptions.HostError) as error:
        LOG.warning("Interrupted operations cannot be looked for: %s", error)


@contextlib.contextmanager
def unless_busy(parts: Parts, uuid: str) -> Iterator[bool]:
    """Like :func:`exclusive`, but yield False at once if an operation on the guest is going on.

    An interrupted one that cannot be ended now, because libvirt does not answer, say, is left to
    the next one who comes.
    """
    with concurrency.try_lock(_directory(parts) / uuid) as held:
        if held is not None:
            try:
                _mend(parts, uuid, held)
                freezing.mend(parts, uuid, left_only=True)
            except exceptions.ComputeDriverError as error:
                LOG.warning("Guest %s cannot be put in order yet: %s", uuid, error)
        yield held is not None


def _directory(parts: Parts) -> Path:
    return Path(parts.conf.hypervisor.state_path) / "locks"


def _note(held: concurrency.Lock, uuid: str, operation: str) -> None:
    try:
        held.note(operation)
    except exceptions.HostError as error:  # a full disk must not keep from making room on it
        LOG.warning("Guest %s: the %s goes on without a note: %s", uuid, operation, error)


def _mend(parts: Parts, uuid: str, held: concurrency.Lock) -> None:
    """Remove what was being made or removed, and put in order what was being changed.

    Other operations left a guest that still is one.
    """
    if held.interrupted in _REMOVING:
        LOG.warning("Removing guest %s: its %s was interrupted", uuid, held.interrupted)
        held.keep = True
        removal.remove(parts, uuid)
        held.keep = False
    elif held.interrupted in _MENDED:
        LOG.warning("Putting guest %s in order: its %s was interrupted", uuid, held.interrupted)
        held.keep = True
        _MENDED[held.interrupted](parts, uuid)
        held.keep = False
