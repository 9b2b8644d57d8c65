# SPDX-License-Identifier: Apache-2.0
"""Network interfaces.

Source: libvirt, "Domain XML format", "Network interfaces"; "Network XML format", "Quality of
service".
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lxml import etree

from compute_driver.choices import NicModel
from compute_driver.guest import Guest, Interface
from compute_driver.limits import Bandwidth
from compute_driver.xml.elements import E, Element

if TYPE_CHECKING:
    from compute_driver.hardware.description import Hardware, NetworkCard, Virtio


def interfaces(guest: Guest, hardware: Hardware) -> list[Element]:
    """Return one ``<interface>`` for each interface of the guest."""
    return [
        _interface(interface, card, hardware.virtio)
        for interface, card in zip(guest.interfaces, hardware.cards, strict=True)
    ]


def _interface(interface: Interface, card: NetworkCard, virtio: Virtio) -> Element:
    from compute_driver.network.kinds import BACKENDS

    form = BACKENDS[interface.kind].form(interface)
    element = E.interface({"type": form.type}, E.mac(address=interface.mac))
    if form.source:
        element.append(E.source(dict(form.source)))
    if interface.device is not None:
        element.append(E.target(dev=interface.device))
    model = virtio.form if card.model is NicModel.VIRTIO else card.model
    element.append(E.model(type=str(model)))
    sizes = {"queues": card.queues, "rx_queue_size": card.rx_queue_size}
    if any(sizes.values()):
        element.append(E.driver({name: str(size) for name, size in sizes.items() if size}))
    if interface.mtu is not None:
        element.append(E.mtu(size=str(interface.mtu)))
    if card.rom_off:
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

    :param domain: the domain's XML.
    :param mac: the interface's hardware address.
    """
    (element,) = etree.fromstring(domain).iterfind(f"devices/interface/mac[@address='{mac}']/..")
    return etree.tostring(element, encoding="unicode", with_tail=False)


def mac_of(interface: Element) -> str:
    """Return the hardware address of an interface, in lower case."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def aliases(domain: Element) -> dict[str, str | None]:
    """Return libvirt's alias of each interface by MAC address; None in a domain that is off."""
    return {
        mac_of(nic): None if (alias := nic.find("alias")) is None else alias.get("name")
        for nic in domain.iterfind("devices/interface")
    }
