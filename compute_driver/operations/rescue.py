# SPDX-License-Identifier: Apache-2.0
"""Boot another system with a guest's disks attached.

The rescue is a part of the stored guest, so that reboots, restarts and removal know of it.  The
domain is defined anew last: an interruption before leaves the guest, stopped perhaps, and files
that recovery removes; an interruption after leaves a rescued guest.
"""

from __future__ import annotations

import dataclasses
import logging

from compute_driver.choices import PowerState
from compute_driver.contract.states import Request, check_own_system
from compute_driver.driver import Progress
from compute_driver.guest import Guest, Rescue
from compute_driver.hardware import architecture, drives
from compute_driver.images import sources
from compute_driver.images.entry import CachedImage
from compute_driver.operations.base import changes, marks, power, redefining, rescue_files
from compute_driver.operations.base.context import Parts, report
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import config_drive, disks, layout
from compute_driver.storage.layout import Role
from compute_driver.system import files, steps, tools

LOG = logging.getLogger(__name__)


def rescue(
    parts: Parts,
    uuid: str,
    wanted: Rescue,
    timeout: float,
    progress: Progress,
    op: Operation,
) -> None:
    """Boot another system in place of the guest's own.

    All files are fetched, made and checked before the guest is shut down.

    :param timeout: seconds that the guest may take to shut down.
    :param op: the operation, whose failure gives the guest its own system back.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.rescue`.
    """
    before = parts.described(uuid).guest
    check_own_system(before, Request.RESCUE)
    state = parts.require(uuid, Request.RESCUE)
    if wanted.config_drive is not None:
        config_drive.check_content(wanted.config_drive)
    base = parts.images.get(wanted.image, progress)
    image = dataclasses.replace(sources.clean(wanted.image), format=base.format)
    boot = wanted.boot and sources.clean_boot(wanted.boot)
    after = dataclasses.replace(before, rescue=dataclasses.replace(wanted, image=image, boot=boot))
    present = parts.present(uuid)
    changes.require(parts.plan(before, present=present), present, before.name)
    draft = parts.draft(after, present=present)
    op.undo.add(f"rescue files of {before.name}", rescue_files.mend, parts, uuid)
    if drives.has_sata_for_ide(wanted.bus, architecture.machine(before)):
        LOG.warning(
            "Guest %s: the rescue system is on bus sata in place of ide, which machine %s lacks",
            before.name,
            draft.hardware.machine,
        )
    _make_files(parts, after, wanted, draft.layout, base, progress)
    steps.announce("rescue files made")
    was_on = state is PowerState.RUNNING
    power.on_again(parts, uuid, op.undo, running=was_on)
    op.undo.add(f"system of {before.name}", _restore, parts, before, was_on)
    power.shut_down(parts, uuid, timeout)
    blueprint = redefining.redefine(parts, after)
    power.power_on(parts, after)
    report(after, blueprint.decision)


def _make_files(
    parts: Parts,
    guest: Guest,
    wanted: Rescue,
    plan: layout.Layout,
    base: CachedImage,
    progress: Progress,
) -> None:
    for kernel, target in layout.boot_files(wanted.boot, plan):
        files.place(parts.images.get_file(kernel, progress), target)
    for disk in plan.disks:
        if disk.role is Role.RESCUE:
            disks.make(disk, base, tools.limits(parts.conf))
        elif disk.role is Role.CONFIG_DRIVE and wanted.config_drive is not None:
            config_drive.build(wanted.config_drive, guest, disk.source)


def _restore(parts: Parts, before: Guest, was_on: bool) -> None:
    """Define the guest's own domain again, and power the rescue system off."""
    if parts.stored(before.uuid).guest.rescue is not None:
        marks.want(parts, before.uuid, running=was_on)
        power.power_off(parts, before.uuid)
        redefining.redefine(parts, before)
