# SPDX-License-Identifier: Apache-2.0
"""Continue a guest that is paused or suspended."""

from __future__ import annotations

import time

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState, StateReason
from compute_driver.contract.states import Request
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import reasons
from compute_driver.operations.base import power
from compute_driver.operations.base.context import Parts
from compute_driver.system import steps
from compute_driver.xml import present

#: Seconds that QEMU may take to repeat the requests that have failed.
_REPEAT_SECONDS = 2.0


def resume(parts: Parts, uuid: str) -> None:
    """Continue a paused or suspended guest; nothing if the guest runs.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.resume`.
    """
    match parts.require(uuid, Request.RESUME):
        case PowerState.PAUSED:
            parts.require_answer(uuid)
            if parts.on_domain(uuid, reasons.reason_of) is StateReason.IO_ERROR:
                _release_after_error(parts, uuid)
            else:
                parts.on_domain(uuid, power.release_processors)
            steps.announce("guest released")
        case PowerState.SUSPENDED:
            parts.on_domain(uuid, parts.ownership.relocate_memory)
            guest = parts.stored(uuid).guest
            _check_saved(parts, guest)
            power.power_on(parts, guest, suspended=True)


def _check_saved(parts: Parts, guest: Guest) -> None:
    """Refuse saved memory of other disks: the guest would overwrite its own data.

    :raises DiskUnusable: if another client has moved a disk since the memory was saved.
    """
    saved = present.read(
        parts.on_domain(guest.uuid, domains.saved), None, parts.directory(guest.uuid)
    )
    for name, source in parts.plan(guest).places.items():
        before = saved and saved.disks.get(name)
        if before and before.source not in (None, source):
            raise exceptions.DiskUnusable(
                f"the memory of guest {guest.name!r} was saved with {name} disk {before.words}, and"
                f" the disk is {source.address} now; 'reboot --hard' starts the guest with this"
                " disk, without its saved memory"
            )


def _release_after_error(parts: Parts, uuid: str) -> None:
    """Continue a guest that an I/O error has paused; QEMU pauses the guest again if it repeats."""
    with parts.connection.watch(uuid) as watch:
        parts.on_domain(uuid, power.release_processors)
        watch.wait({libvirt.VIR_DOMAIN_EVENT_SUSPENDED}, time.monotonic() + _REPEAT_SECONDS)
    parts.on_domain(uuid, _refuse_error)


def _refuse_error(domain: libvirt.virDomain) -> None:
    if reasons.reason_of(domain) is not StateReason.IO_ERROR:
        return
    text = f"guest {domain.name()!r} is paused again: {reasons.explain(domain)}"
    if reasons.lacks_space(domain):
        raise exceptions.NotEnoughSpace(f"{text}; make room there, then resume the guest")
    raise exceptions.HostError(text)
