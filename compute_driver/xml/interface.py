# SPDX-License-Identifier: Apache-2.0
"""Network interfaces.

Source: libvirt, "Domain XML format", "Network interfaces".
"""

from __future__ import annotations

from compute_driver import architecture
from compute_driver.architecture import Machine
from compute_driver.guest import Guest, Interface, NicModel
from compute_driver.xml.elements import E, Element


def interfaces(guest: Guest, machine: Machine) -> list[Element]:
    """Return one ``<interface>`` for each of the guest's.

    :raises InvalidParameter: if the machine does not take a card's model.
    """
    return [_interface(interface, guest, machine) for interface in guest.interfaces]


def _interface(interface: Interface, guest: Guest, machine: Machine) -> Element:
    model = architecture.choose("nic model", interface.model, machine.nics)
    # libvirt's words for the kinds are ours, as type and as name of the source.
    kind = str(interface.kind)
    element = E.interface({"type": kind}, E.mac(address=interface.mac))
    if interface.source is not None:
        element.append(E.source({kind: interface.source}))
    element.append(E.model(type=str(guest.virtio if model is NicModel.VIRTIO else model)))
    return element
