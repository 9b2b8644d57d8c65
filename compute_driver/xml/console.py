# SPDX-License-Identifier: Apache-2.0
"""The serial ports; the first is the console, which is interactive and always logged.

The console is a pseudo-terminal, for libvirt's clients, or a TCP port, for clients in the network;
each power-on chooses the port.

Source: libvirt, "Domain XML format", "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from compute_driver.choices import ConsoleModel
from compute_driver.info import Address
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element

if TYPE_CHECKING:
    from compute_driver.hardware.description import Console

_NO_PORT = "0"


def serial(console: Console, layout: Layout) -> list[Element]:
    """Return each ``<serial>``, and the ``<console>`` that names the first of them again.

    A console that is no serial port has ``<console>`` alone.  :func:`assign` sets the TCP port.
    """
    log = E.log(file=str(layout.console_log), append="on")
    target = E.target(type=str(console.model), port="0")
    kind, source = "pty", []
    if console.address:
        kind = "tcp"
        source = [
            E.source(mode="bind", host=console.address, service=_NO_PORT),
            E.protocol(type="raw"),
        ]
    if console.model is not ConsoleModel.SERIAL:
        return [E.console({"type": kind}, *source, log, target)]
    return [
        E.serial({"type": kind}, *source, log, E.target(port="0")),
        *(E.serial({"type": "pty"}, E.target(port=str(port))) for port in range(1, console.ports)),
        E.console({"type": kind}, *map(copy.deepcopy, source), target),
    ]


def address(domain: Element) -> Address | None:
    """Return the TCP address of a domain's serial console; None for a console without TCP."""
    for source in _sources(domain):
        return Address(host=source.get("host", ""), port=int(source.get("service", _NO_PORT)))
    return None


def assign(domain: Element, port: int) -> None:
    """Give the serial console of a domain a TCP port."""
    for source in _sources(domain):
        source.set("service", str(port))


def _sources(domain: Element) -> list[Element]:
    return [
        source
        for tag in ("serial", "console")
        for source in domain.iterfind(f"devices/{tag}[@type='tcp']/source[@mode='bind']")
    ]
