# SPDX-License-Identifier: Apache-2.0
"""Network interfaces.

Source: libvirt, "Domain XML format", "Network interfaces".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.architecture import Architecture
from compute_driver.guest import Guest, Interface
from compute_driver.xml.elements import E, Element


def interfaces(guest: Guest, facts: Architecture) -> list[Element]:
    """Return one ``<interface>`` for each of the guest's.

    :raises InvalidParameter: if the architecture's machines do not take a card's model.
    """
    return [_interface(interface, facts) for interface in guest.interfaces]


def _interface(interface: Interface, facts: Architecture) -> Element:
    model = interface.model or facts.nics[0]
    if model not in facts.nics:
        raise exceptions.InvalidParameter(
            "nic model", str(model), [str(accepted) for accepted in facts.nics]
        )
    # libvirt's words for the kinds are ours, as type and as name of the source.
    kind = str(interface.kind)
    element = E.interface({"type": kind}, E.mac(address=interface.mac))
    if interface.source is not None:
        element.append(E.source({kind: interface.source}))
    element.append(E.model(type=str(model)))
    return element
