# SPDX-License-Identifier: Apache-2.0
"""Whether the host has what an interface is to be plugged into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Interface
from compute_driver.system import tools

_DEVICES = Path("/sys/class/net")


def check(connection: libvirt.virConnect, interface: Interface) -> None:
    """Refuse an interface whose network or bridge, or what limits it, the host does not have.

    Runs behind the gateway.

    :raises InvalidParameter: names those that there are.
    :raises MissingDependency: if it is to be limited and there is no ``tc``.
    """
    limited = interface.inbound or interface.outbound
    if limited and tools.locate("tc") is None:
        raise exceptions.MissingDependency("tc is not installed (Debian package iproute2)")
    if interface.kind not in _KNOWN:
        return
    known = _KNOWN[interface.kind](connection)
    if interface.source not in known:
        accepted = [f"{interface.kind}={name}" for name in known] or ["user"]
        raise exceptions.NotOnThisHost("nic", f"{interface.kind}={interface.source}", accepted)


def _networks(connection: libvirt.virConnect) -> list[str]:
    try:
        active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
        return [network.name() for network in connection.listAllNetworks(active)]
    except libvirt.libvirtError as error:
        # A libvirt without its network driver, such as an ordinary user's.
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise


def _bridges(connection: libvirt.virConnect) -> list[str]:
    return [path.parent.name for path in _DEVICES.glob("*/bridge")]


_KNOWN: dict[InterfaceKind, Callable[[libvirt.virConnect], list[str]]] = {
    InterfaceKind.NETWORK: _networks,
    InterfaceKind.BRIDGE: _bridges,
}
