# SPDX-License-Identifier: Apache-2.0
"""The network interfaces of a guest."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re

from compute_driver.choices import InterfaceKind, NicModel, Protocol
from compute_driver.guest.bounds import (
    MAX_VCPUS,
    is_uuid,
    require,
    require_match,
    require_whole,
)
from compute_driver.limits import Bandwidth

#: Stands for all IPv4 addresses of the host.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
_BROADCAST = "255.255.255.255"

MAX_PORT = 65535

SSH_PORT = 22

#: The minimum of IP (RFC 791), and the maximum of a length of 16 bits.
MIN_MTU = 68
MAX_MTU = 65535

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SOURCE = re.compile(r"[^\s/\x00-\x1f<>&'\"]{1,64}")
#: Linux's limit of 15 bytes; libvirt uses names that begin with vnet itself.
_DEVICE = re.compile(r"(?!vnet)[A-Za-z0-9][A-Za-z0-9._-]{0,14}")


def random_mac() -> str:
    """Return a MAC address in the range that QEMU and libvirt use for guests (52:54:00)."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in os.urandom(3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedPort:
    """A port of the host that leads to a port of the guest.

    :param address: the host's IPv4 address; ``0.0.0.0`` means all addresses.
    :param port: the host's port.
    :param guest_port: the guest's port.
    :param protocol: of both ports.
    """

    address: str = "127.0.0.1"
    port: int
    guest_port: int
    protocol: Protocol = Protocol.TCP

    def __post_init__(self) -> None:
        accepted = "an IPv4 address of this host, such as 127.0.0.1 or 0.0.0.0"
        require(_is_ipv4(self.address), "publish", self.address, accepted)
        for number in (self.port, self.guest_port):
            sound = type(number) is int and 1 <= number <= MAX_PORT
            require(sound, "publish", number, f"a port number, 1 to {MAX_PORT}")

    def __str__(self) -> str:
        return f"{self.address}:{self.port}:{self.guest_port}/{self.protocol}"

    def overlaps(self, other: PublishedPort) -> bool:
        """Tell whether two published ports need the same port of the host."""
        addresses = {self.address, other.address}
        same = len(addresses) == 1 or ANY_ADDRESS in addresses
        return same and (self.port, self.protocol) == (other.port, other.protocol)


def _is_ipv4(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
        return str(address) == text and not address.is_multicast and text != _BROADCAST
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interface:
    """One network interface.

    :param kind: kind of port that the interface is plugged into.
    :param source: name of the libvirt network or of the bridge; None with kind ``user``.
    :param model: model of the card; None means the architecture's paravirtual default.
    :param mac: hardware address, kept over reboots.
    :param device: name of the host's device, at most 15 bytes.  None leaves the name to libvirt;
        with kind ``ovs`` None becomes a name from the port's UUID, like neutron's names, or from
        the MAC address.
    :param port: UUID of neutron's port; neutron identifies the interface by this UUID.
    :param hybrid: whether an own bridge of the kernel lies between the interface and Open vSwitch;
        neutron's firewall ``iptables_hybrid`` filters there.  Needs kind ``ovs`` and a port.
    :param mtu: largest packet in bytes; None means the network's default.
    :param queues: pairs of queues of a virtio card, at most one for each virtual processor; None
        means one.
    :param inbound: limit of traffic to the guest; None means no limit.
    :param outbound: limit of traffic from the guest; None means no limit.
    :param published: ports of the host that lead to the guest; only with kind ``user``.
    """

    kind: InterfaceKind = InterfaceKind.USER
    source: str | None = None
    model: NicModel | None = None
    mac: str = dataclasses.field(default_factory=random_mac)
    device: str | None = None
    port: str | None = None
    hybrid: bool = False
    mtu: int | None = None
    queues: int | None = None
    inbound: Bandwidth | None = None
    outbound: Bandwidth | None = None
    published: tuple[PublishedPort, ...] = ()

    def __post_init__(self) -> None:
        require(
            _MAC.fullmatch(self.mac) is not None and int(self.mac[:2], 16) % 2 == 0,
            "nic",
            self.mac,
            "a unicast MAC address such as 52:54:00:12:34:56",
        )
        if self.kind.thing is None:
            require(self.source is None, "nic", self.source, f"no name with kind {self.kind}")
            for field in ("device", "port", "mtu", "queues", "inbound", "outbound"):
                value = getattr(self, field)
                require(value is None, f"nic {field}", value, f"nothing with kind {self.kind}")
        else:
            require(
                self.source is not None and _SOURCE.fullmatch(self.source) is not None,
                "nic",
                self.source or str(self.kind),
                f"{self.kind}=NAME, the name of a {self.kind.thing}",
            )
            shown = " ".join(map(str, self.published))
            require(not self.published, "publish", shown, f"kind {InterfaceKind.USER}")
        require(
            self.port is None or is_uuid(self.port), "nic port", self.port, "a UUID in full length"
        )
        require(
            not self.hybrid or (self.kind.switched and self.port is not None),
            "nic hybrid",
            self.hybrid,
            "kind ovs, and a port of neutron's",
        )
        if self.kind.switched and self.device is None:
            name = self.port[:11] if self.port else self.mac.replace(":", "")
            object.__setattr__(self, "device", f"tap{name}")
        accepted = "a device name of at most 15 letters, digits, '.', '_' and '-', not vnet..."
        require_match(_DEVICE, "nic device", self.device, accepted)
        require_whole("nic mtu", self.mtu, MIN_MTU, MAX_MTU, "bytes")
        require_whole("nic queues", self.queues, 1, MAX_VCPUS, "queues")
        virtio = self.model in (None, NicModel.VIRTIO)
        require(virtio or self.queues is None, "nic queues", self.queues, "model virtio")

    @property
    def own_bridge(self) -> str | None:
        """Name of the own bridge of a hybrid interface, as neutron expects it; None without one."""
        return f"qbr{(self.port or '')[:11]}" if self.hybrid else None

    @property
    def switch_port(self) -> str | None:
        """Name of the switch's port for the interface; None if its kind has no switch."""
        if self.hybrid:
            return f"qvo{(self.port or '')[:11]}"
        return self.device if self.kind.switched else None
