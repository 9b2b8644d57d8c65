# SPDX-License-Identifier: Apache-2.0
"""Give a guest that is off other interfaces."""

from __future__ import annotations

import dataclasses

from compute_driver.contract.states import Request
from compute_driver.guest import Interface
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts


def replace_interfaces(parts: Parts, uuid: str, wanted: tuple[Interface, ...]) -> None:
    """Give a guest that is off other interfaces, in place of all its interfaces.

    The description changes last, and at once; each power-on plugs the interfaces in.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.replace_interfaces`.
    """
    parts.require(uuid, Request.REPLACE_INTERFACES)
    stored = parts.described(uuid)
    before = stored.guest.interfaces
    guest = dataclasses.replace(stored.guest, interfaces=wanted)
    parts.ports.check_interfaces(guest)
    interfaces.require_ports(parts, guest, stored.guest.published)
    parts.draft(guest, stored.decision)  # refuses cards that the machine lacks
    parts.ports.unplug(uuid, [nic for nic in before if nic not in wanted])
    interfaces.store(parts, stored, guest)
