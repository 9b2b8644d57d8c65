# SPDX-License-Identifier: Apache-2.0
"""Publish a port of a guest."""

from __future__ import annotations

from compute_driver.choices import ACTIVE
from compute_driver.contract.states import Request
from compute_driver.guest import PublishedPort, publishing
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.system import steps


def publish(parts: Parts, uuid: str, port: PublishedPort, op: Operation) -> None:
    """Let a port of the host lead to a guest, in its description and in its running domain.

    :param op: the operation, whose failure closes the port again.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.publish`.
    """
    state = parts.require(uuid, Request.PUBLISH)
    parts.require_answer(uuid)
    stored = parts.described(uuid)
    guest = publishing(stored.guest, port)
    change = interfaces.with_port(guest, port)
    interfaces.require_ports(parts, change)
    if state not in ACTIVE:
        interfaces.store(parts, stored, guest)
        return
    op.undo.add(f"description of {guest.name}", interfaces.store, parts, stored, stored.guest)
    interfaces.store(parts, stored, guest)
    steps.announce("port described")
    op.undo.add(f"port {port}", parts.ports.unplug, uuid, change.interfaces)
    parts.ports.plug(change)
    steps.announce("port published")
