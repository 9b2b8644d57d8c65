# SPDX-License-Identifier: Apache-2.0
"""Give a guest a further interface."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import ACTIVE
from compute_driver.guest import Interface
from compute_driver.libvirt import domain as domains
from compute_driver.network import interfaces
from compute_driver.operations.base import plugging
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.undo import Undo
from compute_driver.system import concurrency
from compute_driver.xml import interface as interface_xml


def attach_interface(parts: Parts, uuid: str, interface: Interface, held: concurrency.Lock) -> None:
    """Give a guest a further interface: in its description and where it runs, or nowhere.

    :param held: the guest's lock.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.attach_interface`.
    """
    state = parts.require(uuid, "attach an interface to", plugging.ACCEPTED)
    stored = parts.stored(uuid)
    guest = dataclasses.replace(stored.guest, interfaces=(*stored.guest.interfaces, interface))
    parts.connection.run(interfaces.check, interface)
    parts.ports.check(plugging.only(guest, interface))
    # Of the whole domain: some of what an interface is comes from the guest.
    device = interface_xml.of(plugging.xml(parts, stored, guest), interface.mac)
    undo = Undo()
    try:
        with undo:
            undo.add(f"description of {guest.name}", plugging.store, parts, stored, stored.guest)
            plugging.store(parts, stored, guest)
            if state in ACTIVE:
                undo.add(f"interface {interface.mac}", plugging.take_back, parts, uuid, interface)
                parts.ports.prepare(plugging.only(guest, interface))
                parts.on_domain(uuid, lambda domain: domains.attach(domain, device))
                plugging.plug(parts, guest, interface)
            undo.commit()
    finally:
        held.keep = undo.failed
