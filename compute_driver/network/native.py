# SPDX-License-Identifier: Apache-2.0
"""Interfaces that libvirt plugs in by itself whenever a guest is powered on.

Source: libvirt, "Domain XML format", "Network interfaces".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import libvirt

from compute_driver.guest import Interface
from compute_driver.network.backend import Backend, Form, Site, not_there

#: The network devices of the host.
DEVICES = Path("/sys/class/net")


@dataclasses.dataclass(frozen=True)
class Native(Backend):
    """A kind of interface of libvirt's own.

    :param type: libvirt's word for the kind, and for the name of its source.
    :param sources: returns the names of all sources on this host; None for a kind without sources.
    :param needs: what a host without any source may lack, for people to read.
    """

    type: str
    sources: Callable[[Site], list[str]] | None = None
    needs: str = ""

    def form(self, interface: Interface) -> Form:
        return Form(self.type, {self.type: interface.source} if interface.source else {})

    def check_interfaces(self, site: Site, _uuid: str, interfaces: Sequence[Interface]) -> None:
        known = self.sources(site) if self.sources is not None else None
        for interface in interfaces:
            if known is not None and interface.source not in known:
                raise not_there(interface, known, self.needs)


def networks(site: Site) -> list[str]:
    """Return the names of libvirt's networks that are active."""
    names: list[str] = site.call(_networks)
    return names


def bridges(_site: Site) -> list[str]:
    """Return the names of the kernel's bridges."""
    return [path.parent.name for path in DEVICES.glob("*/bridge")]


def _networks(connection: libvirt.virConnect) -> list[str]:
    try:
        active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
        return [network.name() for network in connection.listAllNetworks(active)]
    except libvirt.libvirtError as error:
        # This libvirt has no network driver: an ordinary user's, for example.
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise
