# SPDX-License-Identifier: Apache-2.0
"""Remove a guest, and its files unless the caller keeps them."""

from __future__ import annotations

from compute_driver.operations.base import marks, removal, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation


def destroy(parts: Parts, uuid: str, op: Operation, *, keep_files: bool) -> None:
    """Remove a guest.

    :param op: the operation; a failure removes the kept description of a guest that has its domain.
    :param keep_files: see :meth:`compute_driver.driver.ComputeDriver.destroy`.
    :raises GuestNotFound: if the files are kept, and this driver has no such guest.
    :raises HostError: if the description cannot be written, or a file cannot be removed.
    """
    if keep_files:
        _remove_domain(parts, uuid, op)
    else:
        removal.remove(parts, uuid)


def _remove_domain(parts: Parts, uuid: str, op: Operation) -> None:
    """Remove the domain of a guest, but keep its files and, among them, its description."""
    parts.stored(uuid)
    op.note(undefine=True)
    op.undo.add(f"description of guest {uuid}", restoring.forget_kept, parts, uuid)
    restoring.keep(parts, uuid)
    removal.remove_domain(parts, uuid, keep_files=True)
    marks.clear(parts, uuid)
