# SPDX-License-Identifier: Apache-2.0
"""Make a guest what it was before its resize."""

from __future__ import annotations

from compute_driver.choices import ACTIVE
from compute_driver.operations import start
from compute_driver.operations.base import changes, power, restoring, settling
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import exchange


def revert_resize(
    parts: Parts, uuid: str, op: Operation, *, timeout: float, power_on: bool | None
) -> None:
    """Make the guest what it was before its resize; nothing if no resize waits.

    :param op: the operation; once the old files begin to come back, a failure ends the revert, and
        powers the guest on; before, the guest goes on in its new size.
    :param timeout: see :func:`power.shut_down`.
    :param power_on: see :meth:`compute_driver.driver.ComputeDriver.revert_resize`.
    """
    restoring.restore_kept(parts, uuid)
    interfaces = parts.stored(uuid).guest.interfaces
    if settling.is_kept(parts, uuid):
        was_on = (parts.directory(uuid) / exchange.KEPT / exchange.POWERED_ON).exists()
        power_on = was_on if power_on is None else power_on
        directory = parts.directory(uuid)
        changes.refuse_inside(parts.present(uuid), directory, "a revert would remove")
        changes.require_added(settling.kept(parts, uuid), parts.name(uuid))
        op.note()  # the revert does not begin without its note
        power.on_again(parts, uuid, op.undo, running=parts.state(uuid) in ACTIVE)
        op.undo.add(f"files of guest {uuid}", settling.mend, parts, uuid)
        power.shut_down(parts, uuid, timeout)
        parts.ports.unplug(uuid, interfaces)
        with changes.removing(parts, uuid, Parts.disks):
            settling.bring_back(parts, uuid, running=power_on)
    if power_on:
        start.start(parts, uuid)
