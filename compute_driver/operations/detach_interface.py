# SPDX-License-Identifier: Apache-2.0
"""Take an interface from a guest."""

from __future__ import annotations

import dataclasses

from compute_driver import exceptions
from compute_driver.choices import ACTIVE
from compute_driver.operations.base import plugging
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency


def detach_interface(
    parts: Parts, uuid: str, mac: str, held: concurrency.Lock, *, timeout: float
) -> None:
    """Take an interface from a guest: where it runs and from its description, or nowhere.

    :param mac: the interface's hardware address.
    :param held: the guest's lock.
    :param timeout: seconds that the guest may take to let go.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.detach_interface`.
    """
    state = parts.require(uuid, "detach an interface from", plugging.ACCEPTED)
    stored = parts.stored(uuid)
    found = [each for each in stored.guest.interfaces if each.mac == mac.lower()]
    if not found:
        raise exceptions.InterfaceNotFound(stored.guest.name, mac)
    if state in ACTIVE:
        plugging.let_go(parts, uuid, found[0].mac, timeout)
    held.keep = True
    # Before the record of it goes with the description.
    parts.ports.unplug(uuid, found)
    rest = tuple(each for each in stored.guest.interfaces if each not in found)
    plugging.store(parts, stored, dataclasses.replace(stored.guest, interfaces=rest))
    held.keep = False
