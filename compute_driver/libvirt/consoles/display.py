# SPDX-License-Identifier: Apache-2.0
"""Where a guest's screen is served."""

from __future__ import annotations

import libvirt
from lxml import etree

from compute_driver import consoles
from compute_driver.consoles import DisplayKind
from compute_driver.info import Display
from compute_driver.xml import graphics


def find(domain: libvirt.virDomain, kind: DisplayKind | None) -> Display:
    """Return where a running domain's screen is served by *kind*, or by whichever there is.

    :raises ConsoleUnavailable: if it is not.
    """
    found = graphics.displays(etree.fromstring(domain.XMLDesc()))
    for each in sorted(found, key=lambda display: list(DisplayKind).index(display.kind)):
        if kind in (None, each.kind):
            return each
    raise consoles.no_display(str(domain.name()), kind)
