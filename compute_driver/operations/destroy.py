# SPDX-License-Identifier: Apache-2.0
"""Remove a guest and keep its files."""

from __future__ import annotations

from compute_driver.operations.base import marks, removal, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation


def release(parts: Parts, uuid: str, op: Operation) -> None:
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
