# SPDX-License-Identifier: Apache-2.0
"""The first serial console: interactive, and logged whether anybody listens or not.

Source: libvirt, "Domain XML format", "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from compute_driver.architecture import Architecture
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element


def serial(layout: Layout, facts: Architecture) -> list[Element]:
    """Return ``<serial>`` and the ``<console>`` that is its other name, or the latter alone."""
    log = E.log(file=str(layout.console_log), append="on")
    if facts.console != "serial":
        return [E.console({"type": "pty"}, log, E.target(type=facts.console, port="0"))]
    return [
        E.serial({"type": "pty"}, log, E.target(port="0")),
        E.console({"type": "pty"}, E.target(type="serial", port="0")),
    ]
