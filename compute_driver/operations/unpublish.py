# SPDX-License-Identifier: Apache-2.0
"""Close a published port of a guest."""

from __future__ import annotations

from compute_driver.contract.states import Request
from compute_driver.guest import PublishedPort, withdrawing
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.system import steps


def unpublish(parts: Parts, uuid: str, port: PublishedPort, op: Operation) -> None:
    """Close a published port, in the guest's running domain and in its description.

    :param op: the operation, whose failure publishes the port again.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.unpublish`.
    """
    parts.require(uuid, Request.UNPUBLISH)
    parts.require_answer(uuid)
    stored = parts.described(uuid)
    guest = withdrawing(stored.guest, port)
    op.undo.add(f"port {port}", interfaces.mend, parts, uuid)
    # The description is the only record of the port: the port goes before the record.
    parts.ports.unplug(uuid, interfaces.with_port(stored.guest, port).interfaces)
    steps.announce("port closed")
    interfaces.store(parts, stored, guest)
