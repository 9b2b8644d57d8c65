# SPDX-License-Identifier: Apache-2.0
"""Network interfaces.

Source: libvirt, "Domain XML format", "Network interfaces"; "Network XML format", "Quality of
service".
"""

from __future__ import annotations

import dataclasses

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import NicModel
from compute_driver.guest import Guest, Interface
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.limits import Bandwidth
from compute_driver.network.kinds import BACKENDS
from compute_driver.xml.elements import E, Element


def interfaces(guest: Guest, machine: Machine) -> list[Element]:
    """Return one ``<interface>`` for each of the guest's.

    :raises InvalidParameter: if the machine does not take a card's model, or it has one queue only.
    """
    return [_interface(interface, guest, machine) for interface in guest.interfaces]


def _interface(interface: Interface, guest: Guest, machine: Machine) -> Element:
    model = architecture.choose("nic model", interface.model, machine.nics)
    virtio = model is NicModel.VIRTIO
    form = BACKENDS[interface.kind].form(interface)
    element = E.interface({"type": form.type}, E.mac(address=interface.mac))
    if form.source:
        element.append(E.source(dict(form.source)))
    if interface.device is not None:
        element.append(E.target(dev=interface.device))
    element.append(E.model(type=str(guest.virtio if virtio else model)))
    if interface.queues is not None:
        if not virtio:
            raise exceptions.InvalidParameter("nic queues", interface.queues, "model virtio")
        element.append(E.driver(queues=str(interface.queues)))
    if interface.mtu is not None:
        element.append(E.mtu(size=str(interface.mtu)))
    if machine.pci and not guest.boot_menu:
        # It takes time at each boot, and boots from the network, which somebody has to choose.
        element.append(E.rom(enabled="no"))
    directions = {"inbound": interface.inbound, "outbound": interface.outbound}
    limits = [_limit(name, limit) for name, limit in directions.items() if limit is not None]
    if limits:
        element.append(E.bandwidth(*limits))
    return element


def _limit(direction: str, limit: Bandwidth) -> Element:
    values = dataclasses.asdict(limit).items()
    return E(direction, {name: str(value) for name, value in values if value})


def of(domain: str, mac: str) -> str:
    """Return the element of one interface of a domain.

    :param domain: its XML.
    :param mac: the interface's hardware address.
    """
    (found,) = etree.fromstring(domain).iterfind(f"devices/interface/mac[@address='{mac}']/..")
    return etree.tostring(found, encoding="unicode", with_tail=False)


def aliases(domain: Element) -> dict[str, str | None]:
    """Return libvirt's alias of each interface by MAC address; None in a domain that is off."""
    return {
        mac.get("address", ""): None if (alias := each.find("alias")) is None else alias.get("name")
        for each in domain.iterfind("devices/interface")
        if (mac := each.find("mac")) is not None
    }
