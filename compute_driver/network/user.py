# SPDX-License-Identifier: Apache-2.0
"""User-mode networking: QEMU's own network stack, SLIRP, and the ports that it publishes.

libvirt's XML has no element for published ports of SLIRP, so the driver tells QEMU's monitor about
the ports as soon as libvirt has started the emulator, before the guest runs.

libvirt can use passt in place of SLIRP (libvirt 9.0 of Debian 12 cannot).  passt takes its ports at
its start only, so a running guest could publish no other port, and it gives the guest the host's
own addresses.

Sources: QEMU, "Human Monitor Protocol", ``hostfwd_add`` and ``hostfwd_remove``; libvirt,
virDomainQemuMonitorCommand, and "Domain XML format", "Userspace connection using passt"; passt(1).
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
from collections.abc import Callable, Sequence

import libvirt
import libvirt_qemu

from compute_driver import exceptions
from compute_driver.choices import Protocol
from compute_driver.guest import Interface, PublishedPort
from compute_driver.network.backend import Backend, Form, Site

_SOCKETS = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}

#: The setting of Linux for the ports of ordinary users.
_UNPRIVILEGED = "sysctl net.ipv4.ip_unprivileged_port_start"

#: QEMU's words for a port that is not published now.
_UNKNOWN = re.compile("not found")
#: QEMU's words for a port that it has removed.
_REMOVED = re.compile("removed")


class UserMode(Backend):
    """Interfaces of user-mode networking."""

    def form(self, interface: Interface) -> Form:
        return Form("user")

    def check_interfaces(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        pass  # every host has user-mode networking

    def prepare(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> bool:
        ports = [port for interface in interfaces for port in interface.published]
        with self.held(interfaces):
            return bool(ports)

    def held(self, interfaces: Sequence[Interface]) -> contextlib.ExitStack:
        # Else libvirt gives the port to the guest's own screen.
        with contextlib.ExitStack() as sockets:
            for interface in interfaces:
                for port in interface.published:
                    sockets.enter_context(_held(port))
            return sockets.pop_all()

    def plug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        if any(interface.published for interface in interfaces):
            site.call(functools.partial(_change, site, uuid, interfaces, _publish))

    def unplug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        if any(interface.published for interface in interfaces):
            site.call(functools.partial(_change, site, uuid, interfaces, _withdraw))


def _held(port: PublishedPort) -> socket.socket:
    """Return a socket at a port of the host, which no other program gets meanwhile.

    :raises NotOnThisHost: if another program has the port, or the user may not open it.
    """
    held = socket.socket(socket.AF_INET, _SOCKETS[port.protocol])
    try:
        if port.protocol is Protocol.TCP:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as QEMU does
        held.bind((port.address, port.port))
        if port.protocol is Protocol.TCP:
            held.listen()  # libvirt takes a port for free unless a program listens there
    except OSError as error:
        held.close()
        accepted = f"a free port and an address of this host ({error.strerror})"
        if isinstance(error, PermissionError):
            accepted = f"a port that this user may open ({_UNPRIVILEGED} names the first)"
        raise exceptions.NotOnThisHost("publish", str(port), accepted) from error
    return held


def _change(
    site: Site,
    uuid: str,
    interfaces: Sequence[Interface],
    step: Callable[[libvirt.virDomain, str, PublishedPort], None],
    connection: libvirt.virConnect,
) -> None:
    """Take a step with each published port of the interfaces that a running domain has."""
    try:
        domain = connection.lookupByUUIDString(uuid)
        aliases = site.aliases(domain) if domain.isActive() else {}
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return
        raise
    for interface in interfaces:
        alias = aliases.get(interface.mac)
        if alias is not None:
            for port in interface.published:
                step(domain, f"host{alias}", port)


def _publish(domain: libvirt.virDomain, network: str, port: PublishedPort) -> None:
    """Publish a port; a port that is published already stays so.

    :raises PlugFailed: if QEMU cannot open the port of the host.
    """
    _withdraw(domain, network, port)
    answer = _tell(domain, f"hostfwd_add {network} {_rule(port)}-:{port.guest_port}")
    if answer:
        raise exceptions.PlugFailed(
            f"port {port} of guest {domain.name()!r} cannot be published: {answer}"
        )


def _withdraw(domain: libvirt.virDomain, network: str, port: PublishedPort) -> None:
    """Close a published port; nothing if the port is not published.

    :raises PlugFailed: if QEMU refuses.
    """
    answer = _tell(domain, f"hostfwd_remove {network} {_rule(port)}")
    if not (_REMOVED.search(answer) or _UNKNOWN.search(answer)):
        raise exceptions.PlugFailed(
            f"port {port} of guest {domain.name()!r} cannot be closed: {answer}"
        )


def _rule(port: PublishedPort) -> str:
    return f"{port.protocol}:{port.address}:{port.port}"


def _tell(domain: libvirt.virDomain, command: str) -> str:
    human = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
    return " ".join(libvirt_qemu.qemuMonitorCommand(domain, command, human).split())
