# SPDX-License-Identifier: Apache-2.0
"""The first serial console: interactive, and logged whether anybody listens or not.

Source: libvirt, "Domain XML format", "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from compute_driver import architecture
from compute_driver.architecture import Machine
from compute_driver.guest import ConsoleModel, Guest
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element


def serial(guest: Guest, layout: Layout, machine: Machine) -> list[Element]:
    """Return ``<serial>`` and the ``<console>`` that is its other name, or the latter alone.

    :raises InvalidParameter: if the machine does not have the guest's console.
    """
    model = architecture.choose("console", guest.console, machine.consoles)
    log = E.log(file=str(layout.console_log), append="on")
    target = E.target(type=str(model), port="0")
    if model is not ConsoleModel.SERIAL:
        return [E.console({"type": "pty"}, log, target)]
    return [
        E.serial({"type": "pty"}, log, E.target(port="0")),
        E.console({"type": "pty"}, target),
    ]
