# SPDX-License-Identifier: Apache-2.0
"""The addresses that a guest gives its network interfaces itself, without DHCP."""

from __future__ import annotations

import dataclasses
import ipaddress

from compute_driver.guest.bounds import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaticAddress:
    """An address of a network interface.

    :param address: with the length of its network's prefix, such as ``192.0.2.5/24``.
    :param gateway: the router of the default route; None means no default route.
    """

    address: str
    gateway: str | None = None

    def __post_init__(self) -> None:
        try:
            interface = ipaddress.ip_interface(self.address)
            sound = "/" in self.address
        except ValueError:
            sound = False
        accepted = "an address with its prefix, such as 192.0.2.5/24 or 2001:db8::5/64"
        require(sound, "nic address", self.address, accepted)
        if self.gateway is None:
            return
        accepted = f"the IPv{interface.version} address of a router in {interface.network}"
        require(_reaches(interface, self.gateway), "nic gateway", self.gateway, accepted)


def is_address(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _reaches(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface, gateway: str) -> bool:
    """Tell whether a gateway is a neighbour; a router's own IPv6 address may be link-local."""
    if not is_address(gateway):
        return False
    router = ipaddress.ip_address(gateway)
    own = router.version == interface.version and router in interface.network
    return own or (router.version == interface.version == 6 and router.is_link_local)
