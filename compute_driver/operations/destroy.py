# SPDX-License-Identifier: Apache-2.0
"""Remove a guest, and its files unless the caller keeps them."""

from __future__ import annotations

import contextlib

from compute_driver import exceptions
from compute_driver.operations.base import disk_copy, journal, marks, removal, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.operations.base.need import Need


def destroy(parts: Parts, uuid: str, *, keep_files: bool) -> None:
    """Remove a guest; nothing if there is no such guest.

    :param keep_files: see :meth:`compute_driver.driver.ComputeDriver.destroy`.
    :raises: likewise.
    """
    disk_copy.give_up(parts, uuid)
    with contextlib.suppress(exceptions.GuestNotFound):
        if keep_files:
            with journal.operation(parts, uuid, "release", need=Need.FILES) as op:
                _release(parts, uuid, op)
        else:
            with journal.operation(parts, uuid, "destroy", need=Need.NOTHING, removes=True):
                removal.remove(parts, uuid)


def _release(parts: Parts, uuid: str, op: Operation) -> None:
    """Remove the domain of a guest, but keep its files and, among them, its description.

    :raises GuestNotFound: if this driver has no such guest.
    :raises HostError: if the description cannot be written.
    """
    parts.stored(uuid)
    op.note(undefine=True)
    op.undo.add(f"description of guest {uuid}", restoring.forget_kept, parts, uuid)
    restoring.keep(parts, uuid)
    removal.remove_domain(parts, uuid, keep_files=True)
    marks.clear(parts, uuid)
