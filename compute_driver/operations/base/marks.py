# SPDX-License-Identifier: Apache-2.0
"""Marks of a guest that is off or paused only as long as an operation goes on.

A mark is an empty file in the guest's directory.  As its name begins with a dot, no resize moves
the file:

=============  =================================================================================
``.to-run``    the guest runs in the end; until the next power-on an operation has the guest off
``.starting``  the power-on has begun, and the guest is paused until the power-on has ended
=============  =================================================================================

A power-on makes the second mark before libvirt starts the guest, and removes the first mark once
libvirt has started the guest.  So a guest that is off and has only the second mark has stopped
since, and stays off.
"""

from __future__ import annotations

import enum
import logging
from pathlib import Path

from compute_driver.operations.base.context import Parts
from compute_driver.system.filesystem import host_errors

LOG = logging.getLogger(__name__)


class Mark(enum.Enum):
    """A mark, by the name of its file."""

    TO_RUN = ".to-run"
    STARTING = ".starting"


def find(parts: Parts, uuid: str) -> frozenset[Mark]:
    """Return the marks of a guest."""
    return frozenset(mark for mark in Mark if _path(parts, uuid, mark).exists())


def want(parts: Parts, uuid: str, *, running: bool) -> None:
    """Note whether a guest runs in the end, before an operation powers the guest off.

    A full disk prevents no operation: the guest then stays off if the operation dies.
    """
    path = _path(parts, uuid, Mark.TO_RUN)
    if not running:
        path.unlink(missing_ok=True)
        return
    try:
        path.touch(0o600)
    except OSError as error:
        LOG.warning("%s cannot be made: %s", path, error.strerror)


def begin(parts: Parts, uuid: str, *, paused: bool) -> None:
    """Note that libvirt starts a guest now; the guest still runs in the end if it dies meanwhile.

    :param paused: whether the guest is paused at first; else the mark serves no purpose unless the
        guest has the other one.
    :raises HostError: if the mark cannot be made.
    """
    starting, to_run = (_path(parts, uuid, mark) for mark in (Mark.STARTING, Mark.TO_RUN))
    if not paused and not to_run.exists():
        return
    with host_errors(f"{starting} cannot be made"):
        try:
            starting.touch(0o600)
        except OSError:
            if not to_run.exists():
                raise
            to_run.rename(starting)  # a full disk has no room for two marks


def end(parts: Parts, uuid: str) -> None:
    """Note that the power-on of a guest has ended, or is taken back."""
    _path(parts, uuid, Mark.STARTING).unlink(missing_ok=True)


def clear(parts: Parts, uuid: str) -> None:
    """Remove the marks of a guest."""
    for mark in Mark:
        _path(parts, uuid, mark).unlink(missing_ok=True)


def _path(parts: Parts, uuid: str, mark: Mark) -> Path:
    return parts.directory(uuid) / mark.value
