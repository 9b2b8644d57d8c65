# SPDX-License-Identifier: Apache-2.0
"""Attach an interface to a guest."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import ACTIVE
from compute_driver.contract.states import Request
from compute_driver.guest import Interface
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.system import steps
from compute_driver.xml import interface as interface_xml


def attach_interface(parts: Parts, uuid: str, interface: Interface, op: Operation) -> None:
    """Attach an interface to a guest, in its description and in its running domain.

    :param op: the operation, whose failure removes the interface from both.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.attach_interface`.
    """
    state = parts.require(uuid, Request.ATTACH_INTERFACE)
    parts.require_answer(uuid)
    stored = parts.described(uuid)
    guest = dataclasses.replace(stored.guest, interfaces=(*stored.guest.interfaces, interface))
    parts.ports.check_interfaces(interfaces.only(guest, interface))
    interfaces.require_ports(parts, interfaces.only(guest, interface))
    parts.draft(guest, stored.decision)  # refuses a card that the machine lacks
    op.undo.add(f"description of {guest.name}", interfaces.store, parts, stored, stored.guest)
    blueprint = interfaces.store(parts, stored, guest)
    # Some options of the guest apply to each of its devices: the device is the new domain's.
    device = interface_xml.of(blueprint.xml, interface.mac)
    steps.announce("interface described")
    if state in ACTIVE:
        op.undo.add(f"interface {interface.mac}", interfaces.take_back, parts, uuid, interface)
        parts.ports.prepare(interfaces.only(guest, interface))
        steps.announce("ports prepared")
        parts.on_domain(uuid, lambda domain: domains.attach(domain, device))
        steps.announce("interface attached")
        interfaces.plug(parts, guest, interface)
        steps.announce("ports plugged")
