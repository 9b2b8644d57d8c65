# SPDX-License-Identifier: Apache-2.0
"""The arguments by which libvirt would start the emulator of a domain, without a start."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import libvirt
from lxml import etree

from compute_driver.host.kind import Kind
from compute_driver.libvirt.connection import Connection
from compute_driver.xml.elements import E, Element


def arguments(
    connection: Connection,
    kind: Kind,
    *,
    settings: Iterable[Element] = (),
    devices: Iterable[Element] = (),
) -> list[str]:
    """Return QEMU's arguments for a small domain.

    :param settings: elements of the domain, besides its devices.
    :param devices: the domain's devices, without those that libvirt adds by itself.
    :raises LibvirtError: if libvirt cannot make the domain; has libvirt's reason.

    Source: libvirt, virConnectDomainXMLToNative with format ``qemu-argv``.
    """
    domain = E.domain(
        {"type": kind.accelerator.domain_type},
        E.name("rehearsal"),
        E.memory("64", unit="MiB"),
        E.vcpu("1"),
        E.os(E.type("hvm", arch=kind.architecture, machine=kind.machine)),
        *settings,
        E.devices(E.emulator(kind.emulator), *devices),
    )
    xml = etree.tostring(domain, encoding="unicode")
    line: str = connection.run(libvirt.virConnect.domainXMLToNative, "qemu-argv", xml)
    return shlex.split(line)
