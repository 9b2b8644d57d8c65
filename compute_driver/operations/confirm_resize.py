# SPDX-License-Identifier: Apache-2.0
"""Remove the old files and the old description that a resize has kept."""

from __future__ import annotations

from compute_driver.operations.base import changes, settling
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import exchange
from compute_driver.system import steps


def confirm_resize(parts: Parts, uuid: str, op: Operation) -> None:
    """Remove the old files and the old description of a guest; nothing if no resize waits.

    :param op: the operation; after the step "old files given up", a failure also removes the files.
    """
    parts.stored(uuid)
    if settling.is_kept(parts, uuid):
        op.note()
        op.undo.add(f"old files of guest {uuid}", settling.mend, parts, uuid)
        with changes.removing(parts, uuid, settling.kept_disks):
            _drop(parts, uuid)


def _drop(parts: Parts, uuid: str) -> None:
    exchange.drop(parts.directory(uuid))
    steps.announce("old files given up")
    settling.mend(parts, uuid)
