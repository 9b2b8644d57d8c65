# SPDX-License-Identifier: Apache-2.0
"""Boot another system with a guest's disks attached, and go back to its own.

The rescue is a part of the stored guest, so that reboots, restarts and removal keep knowing it.
The domain is defined anew last: until then an interruption leaves the guest, stopped perhaps, and
files that nobody names, which whoever comes next removes; from then on it leaves a rescued guest.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.driver import Progress
from compute_driver.guest import Guest, Rescue
from compute_driver.images import sources
from compute_driver.images.cache import CachedImage
from compute_driver.libvirt import domain as domains
from compute_driver.operations import power
from compute_driver.operations.base.context import Parts, Undo, report
from compute_driver.storage import config_drive, disks, layout
from compute_driver.storage.layout import Role
from compute_driver.system import concurrency, files, tools

#: The operations that are mended.
OPERATIONS = frozenset({"rescue", "unrescue"})

#: Not suspended: its memory would be lost.
_ACCEPTED = frozenset({PowerState.RUNNING, PowerState.STOPPED, PowerState.CRASHED})


def rescue(
    parts: Parts,
    uuid: str,
    wanted: Rescue,
    timeout: float,
    progress: Progress,
    held: concurrency.Lock,
) -> None:
    """Boot another system in place of the guest's own.

    All that is needed is fetched, made and checked before the guest is shut down.

    :param timeout: seconds that the guest may take for that.
    :param held: the guest's lock, whose note stays if something could not be taken back.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.rescue`.
    """
    before = parts.stored(uuid).guest
    if before.rescue is not None:
        raise exceptions.InvalidGuestState(before.name, "rescue", "being rescued", ["itself"])
    state = parts.require(uuid, "rescue", _ACCEPTED)
    if wanted.config_drive is not None:
        config_drive.check(wanted.config_drive)
    base = parts.images.get(wanted.image, progress)
    image = dataclasses.replace(sources.clean(wanted.image), format=base.format)
    boot = wanted.boot and sources.clean_boot(wanted.boot)
    after = dataclasses.replace(before, rescue=dataclasses.replace(wanted, image=image, boot=boot))
    made = parts.blueprint(after)
    undo = Undo()
    try:
        with undo:
            undo.add(f"rescue files of {before.name}", mend, parts, uuid)
            _make_files(parts, after, wanted, made.layout, base, progress)
            undo.add(f"power of {before.name}", _restore, parts, before, state)
            power.stop(parts, uuid, timeout)
            parts.connection.run(domains.define, made.xml)
            power.power_on(parts, after)
            undo.commit()
    finally:
        held.keep = undo.failed
    report(after, made.decision)


def unrescue(parts: Parts, uuid: str) -> None:
    """Boot the guest's own system again.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.unrescue`.
    """
    before = parts.stored(uuid).guest
    if before.rescue is None:
        raise exceptions.InvalidGuestState(before.name, "unrescue", "itself", ["being rescued"])
    after = dataclasses.replace(before, rescue=None)
    made = parts.blueprint(after)
    parts.on_domain(uuid, domains.power_off)
    parts.connection.run(domains.define, made.xml)
    remove_files(parts, uuid)
    power.power_on(parts, after)
    report(after, made.decision)


def mend(parts: Parts, uuid: str) -> None:
    """Remove the files of a rescue that is over or has never begun."""
    try:
        guest = parts.stored(uuid).guest
    except exceptions.GuestNotFound:
        return
    if guest.rescue is None:
        remove_files(parts, uuid)


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the files that are there for a rescue."""
    directory = parts.directory(uuid)
    prefix = layout.RESCUE_PREFIX
    return sorted((*directory.glob(f"{prefix}*"), *directory.glob(f".{prefix}*")))


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove the files that are there for a rescue."""
    for path in leftovers(parts, uuid):
        path.unlink(missing_ok=True)


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
            config_drive.build(wanted.config_drive, guest, disk.source.path)


def _restore(parts: Parts, before: Guest, state: PowerState) -> None:
    """Have the guest's own domain again, and have it run if it did."""
    own = parts.stored(before.uuid).guest.rescue is None
    if not own:
        parts.on_domain(before.uuid, domains.power_off)
        parts.connection.run(domains.define, parts.blueprint(before).xml)
    if state is PowerState.RUNNING and parts.state(before.uuid) is not PowerState.RUNNING:
        power.power_on(parts, before)
