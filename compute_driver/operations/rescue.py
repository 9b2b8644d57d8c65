# SPDX-License-Identifier: Apache-2.0
"""Boot another system with a guest's disks attached, and go back to its own.

The rescue is a part of the stored guest, so that reboots, restarts and removal keep knowing it.
The domain is defined anew last: until then an interruption leaves the guest, stopped perhaps, and
files that nobody names, which whoever comes next removes; from then on it leaves a rescued guest.
"""

from __future__ import annotations

import dataclasses

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.driver import Progress
from compute_driver.guest import Guest, Rescue
from compute_driver.images import sources
from compute_driver.images.cache import CachedImage
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import power, rescue_files
from compute_driver.operations.base.context import Parts, report
from compute_driver.operations.base.undo import Undo
from compute_driver.storage import config_drive, disks, layout
from compute_driver.system import concurrency, tools

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
            undo.add(f"rescue files of {before.name}", rescue_files.mend, parts, uuid)
            _make_files(parts, after, wanted, made.layout, base, progress)
            undo.add(f"power of {before.name}", _restore, parts, before, state)
            power.shut_down(parts, uuid, timeout)
            parts.connection.run(domains.define, made.xml)
            power.power_on(parts, after)
            undo.commit()
    finally:
        held.keep = undo.failed
    report(after, made.decision)


def _make_files(
    parts: Parts,
    guest: Guest,
    wanted: Rescue,
    plan: layout.Layout,
    base: CachedImage,
    progress: Progress,
) -> None:
    for kernel, target in layout.boot_files(wanted.boot, plan):
        disks.place(parts.images.get_file(kernel, progress), target)
    for disk in plan.disks:
        if disk.role == "rescue":
            disks.make(disk, base, tools.limits(parts.conf))
        elif disk.role == "config-drive" and wanted.config_drive is not None:
            config_drive.build(wanted.config_drive, guest, disk.path)


def _restore(parts: Parts, before: Guest, state: PowerState) -> None:
    """Have the guest's own domain again, and have it run if it did."""
    own = parts.stored(before.uuid).guest.rescue is None
    if not own:
        parts.on_domain(before.uuid, domains.power_off)
        parts.connection.run(domains.define, parts.blueprint(before).xml)
    if state is PowerState.RUNNING and parts.state(before.uuid) is not PowerState.RUNNING:
        power.power_on(parts, before)
