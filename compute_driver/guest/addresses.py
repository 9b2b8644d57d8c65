# SPDX-License-Identifier: Apache-2.0
"""The addresses that a guest gives its network interfaces itself, without DHCP."""

from __future__ import annotations

import dataclasses
import ipaddress

from compute_driver.guest.bounds import require

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaticAddress:
    """An address of a network interface.

    :param address: with the length of its network's prefix, such as ``192.0.2.5/24``.
    :param gateway: the router of the default route; None means no default route.
    """

    address: str
    gateway: str | None = None

    def __post_init__(self) -> None:
        host, slash, _length = self.address.partition("/")
        try:
            interface = ipaddress.ip_interface(self.address)
            sound = bool(slash) and is_host(host)
        except ValueError:
            sound = False
        accepted = "an address of one host with its prefix, such as 192.0.2.5/24 or 2001:db8::5/64"
        require(sound, "nic address", self.address, accepted)
        network, reserved = interface.network, _reserved(interface.network)
        accepted = f"an address in {network} other than {' and '.join(map(str, reserved))}"
        require(interface.ip not in reserved, "nic address", self.address, accepted)
        if self.gateway is None:
            return
        accepted = f"the IPv{interface.version} address of a router in {network}"
        if interface.version == 6:
            accepted += " or fe80::/10"
        accepted += f", other than {interface.ip}"
        require(_reaches(interface, self.gateway), "nic gateway", self.gateway, accepted)

    @property
    def ip(self) -> Address:
        """The address without its prefix."""
        return ipaddress.ip_interface(self.address).ip


def is_server(text: str) -> bool:
    """Tell whether a text is the IPv4 or IPv6 address of one host, or of a guest itself."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address == _BROADCAST or address.is_unspecified)


def is_host(text: str) -> bool:
    """Tell whether a text is the IPv4 or IPv6 address of one host, as other hosts know it."""
    if not is_server(text):
        return False
    address = ipaddress.ip_address(text)
    # The scope of an address, such as "eth0", has a meaning on one host only (RFC 4007).
    scope = getattr(address, "scope_id", None)
    mapped = getattr(address, "ipv4_mapped", None)  # never on a wire (RFC 4038, 4.2)
    return not (mapped or scope or address.is_loopback)


def _reserved(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[Address]:
    """Return the addresses of a network that no host has.

    RFC 1122, 3.2.1.3: the network and its broadcast; RFC 4291, 2.6.1: all routers of the network.
    Networks of one or two addresses have none: RFC 3021 and RFC 6164.
    """
    if network.num_addresses <= 2:
        return []
    return [network[0], network[-1]] if network.version == 4 else [network[0]]


def _reaches(interface: _Interface, gateway: str) -> bool:
    """Tell whether a gateway is a neighbour; a router's own IPv6 address may be link-local."""
    if not is_host(gateway):
        return False
    router = ipaddress.ip_address(gateway)
    if router.version != interface.version or router == interface.ip:
        return False
    if router.version == 6 and router.is_link_local:
        return True
    # All routers of an IPv6 network answer at its first address.
    taken = router.version == 4 and router in _reserved(interface.network)
    return router in interface.network and not taken
