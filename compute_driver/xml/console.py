# SPDX-License-Identifier: Apache-2.0
"""The serial ports; the first is the console: interactive, and logged whoever listens or not.

Source: libvirt, "Domain XML format", "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from compute_driver import architecture, exceptions
from compute_driver.architecture import Machine
from compute_driver.guest import ConsoleModel, Guest
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element


def serial(guest: Guest, layout: Layout, machine: Machine) -> list[Element]:
    """Return each ``<serial>`` and the ``<console>`` that is the first one's other name.

    Of a console that is no serial port there is the latter alone.

    :raises InvalidParameter: if the machine does not have the guest's console, or not as many.
    """
    model = architecture.choose("console", guest.console, machine.consoles)
    most = machine.serial_ports if model is ConsoleModel.SERIAL else 1
    if guest.serial_ports > most:
        accepted = f"at most {most} with machine {machine.name} and console {model}"
        raise exceptions.InvalidParameter("serial_ports", guest.serial_ports, accepted)
    log = E.log(file=str(layout.console_log), append="on")
    target = E.target(type=str(model), port="0")
    if model is not ConsoleModel.SERIAL:
        return [E.console({"type": "pty"}, log, target)]
    return [
        E.serial({"type": "pty"}, log, E.target(port="0")),
        *(
            E.serial({"type": "pty"}, E.target(port=str(port)))
            for port in range(1, guest.serial_ports)
        ),
        E.console({"type": "pty"}, target),
    ]
