# SPDX-License-Identifier: Apache-2.0
"""The serial ports; the first is the console: interactive, and logged whoever listens or not.

It hangs on a pseudo-terminal, which libvirt's clients reach, or on a TCP port, which anybody does
who is let through; the port is chosen for each power-on.

Source: libvirt, "Domain XML format", "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

import copy

from compute_driver import exceptions
from compute_driver.choices import ConsoleModel
from compute_driver.consoles import Served
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.info import Address
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element

_NO_PORT = "0"


def serial(guest: Guest, layout: Layout, machine: Machine, served: Served) -> list[Element]:
    """Return each ``<serial>`` and the ``<console>`` that is the first one's other name.

    Of a console that is no serial port there is the latter alone.

    :param served: at which address the console is; the port is :func:`assign`'s.
    :raises InvalidParameter: if the machine does not have the guest's console, or not as many.
    """
    model = architecture.choose("console", guest.console, machine.consoles)
    most = machine.serial_ports if model is ConsoleModel.SERIAL else 1
    if guest.serial_ports > most:
        accepted = f"at most {most} with machine {machine.name} and console {model}"
        raise exceptions.InvalidParameter("serial_ports", guest.serial_ports, accepted)
    log = E.log(file=str(layout.console_log), append="on")
    target = E.target(type=str(model), port="0")
    kind, source = "pty", []
    if served.serial is not None:
        kind = "tcp"
        source = [
            E.source(mode="bind", host=served.serial, service=_NO_PORT),
            E.protocol(type="raw"),
        ]
    if model is not ConsoleModel.SERIAL:
        return [E.console({"type": kind}, *source, log, target)]
    return [
        E.serial({"type": kind}, *source, log, E.target(port="0")),
        *(
            E.serial({"type": "pty"}, E.target(port=str(port)))
            for port in range(1, guest.serial_ports)
        ),
        E.console({"type": kind}, *map(copy.deepcopy, source), target),
    ]


def address(domain: Element) -> Address | None:
    """Return where the serial console of a domain is served by TCP; None if it is not."""
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
