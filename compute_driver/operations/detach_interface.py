# SPDX-License-Identifier: Apache-2.0
"""Detach an interface from a guest."""

from __future__ import annotations

import dataclasses

from compute_driver import exceptions
from compute_driver.choices import ACTIVE
from compute_driver.contract.states import Request
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.system import steps


def detach_interface(parts: Parts, uuid: str, mac: str, op: Operation, *, timeout: float) -> None:
    """Detach an interface from a guest, from its running domain and from its description.

    :param mac: the interface's hardware address.
    :param op: the operation.
    :param timeout: seconds that the guest may take to release the interface.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.detach_interface`.
    """
    state = parts.require(uuid, Request.DETACH_INTERFACE)
    parts.require_answer(uuid)
    stored = parts.described(uuid)
    removed = [nic for nic in stored.guest.interfaces if nic.mac == mac.lower()]
    if not removed:
        raise exceptions.InterfaceNotFound(stored.guest.name, mac)
    # The guest cannot get the interface back: after a failure, the undo completes the detachment.
    op.undo.add(f"interface {mac}", interfaces.forget_released, parts, uuid)
    if state in ACTIVE:
        interfaces.let_go(parts, uuid, removed[0].mac, timeout)
        steps.announce("interface let go")
    # The description is the only record of the interface: unplug it before the record goes.
    parts.ports.unplug(uuid, removed)
    steps.announce("ports unplugged")
    rest = tuple(nic for nic in stored.guest.interfaces if nic not in removed)
    interfaces.store(parts, stored, dataclasses.replace(stored.guest, interfaces=rest))
