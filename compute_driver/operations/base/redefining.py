# SPDX-License-Identifier: Apache-2.0
"""Defines the domains of guests anew, with the changes that other clients of libvirt have made."""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.operations.base import changes
from compute_driver.operations.base.blueprint import Blueprint
from compute_driver.operations.base.context import Parts, report
from compute_driver.system import steps
from compute_driver.xml.present import Present

#: How often a domain is defined whose disks another client moves each time.
_TRIES = 10


def redefine(
    parts: Parts,
    guest: Guest,
    decision: Decision | None = None,
    *,
    new_files: bool = False,
    present: Present | None = None,
) -> Blueprint:
    """Define the domain of a guest anew, as configuration and host are now.

    The new domain holds from the next power-on.  The log names the changes of other clients that
    the domain does not keep.

    :param guest: the guest, as the new domain describes it.
    :param decision: see :meth:`Parts.draft`.
    :param new_files: likewise.
    :param present: likewise.
    :return: the guest's hardware, files and domain.
    :raises GuestBusy: if another client moves a disk of the guest again and again.
    :raises DiskUnusable: if another client moves a disk where the driver cannot use the disk.
    :raises: the errors of :meth:`Parts.blueprint`.  If the first definition fails, the domain stays
        as it was.
    """
    present = present or parts.present(guest.uuid)
    for attempt in range(_TRIES):
        blueprint = parts.blueprint(guest, decision, new_files=new_files, present=present)
        if attempt:
            changes.require(blueprint.layout, present, guest.name)
        parts.define(blueprint.xml)
        steps.announce("domain redefined")
        known, present = present, parts.present(guest.uuid)
        # Another client may have moved a disk meanwhile.
        if parts.plan(guest, present=present).places == blueprint.layout.places:
            changes.warn(parts, known, blueprint)
            return blueprint
    raise exceptions.GuestBusy(
        f"another client of libvirt has moved a disk of guest {guest.name!r} {_TRIES} times while"
        " its domain was defined; try again when the disks stay where they are"
    )


def rebuild(parts: Parts, uuid: str, present: Present | None = None) -> Guest:
    """Define the domain anew from the stored description, as configuration and host are now.

    The accelerator is decided again.  The new domain holds from the next power-on.

    :param present: see :meth:`Parts.draft`.
    :return: the stored description.
    :raises DiskUnusable: if a disk is gone, or another client has put it where the driver cannot
        use it; the domain stays as it was.
    :raises: what :func:`redefine` raises; likewise.
    """
    present = present or parts.present(uuid)
    guest = parts.described(uuid, present).guest
    changes.require(parts.plan(guest, present=present), present, guest.name)
    blueprint = redefine(parts, guest, present=present)
    report(guest, blueprint.decision)
    return guest
