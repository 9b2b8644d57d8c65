# SPDX-License-Identifier: Apache-2.0
"""Give a guest another size, and keep the old files until the resize is confirmed or reverted.

The new files are made beside the old ones; see :mod:`compute_driver.storage.exchange` for how they
change places.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import OFF
from compute_driver.contract.lifecycle import check_same_guest, check_sizes
from compute_driver.contract.states import Request, check_no_resize, check_own_system
from compute_driver.guest import Disk, Guest
from compute_driver.hardware import acceleration, architecture
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.description import Description
from compute_driver.operations.base import admission, changes, marks, power, redefining, settling
from compute_driver.operations.base.context import Parts, report
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import config_drive, disks, exchange, layout
from compute_driver.storage.home import Home
from compute_driver.storage.layout import GROWING, Role
from compute_driver.storage.source import FileSource, Source
from compute_driver.system import files, filesystem, steps, tools


@dataclasses.dataclass(frozen=True)
class Change:
    """The change of a guest by a resize.

    :param old: the guest as it is.
    :param new: the guest after the resize, as its domain stores it.
    :param decision: the accelerator of the new guest.
    :param sizes: the sizes of the disks that the guest has now, in bytes, by name.
    """

    old: Guest
    new: Guest
    decision: acceleration.Decision
    sizes: dict[str, int]


def check_resize(parts: Parts, uuid: str, guest: Guest) -> Change:
    """Refuse a change that cannot work, before anything is touched.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.resize`.
    """
    parts.require(uuid, Request.RESIZE)
    present = parts.present(uuid)
    old = parts.described(uuid, present).guest
    check_own_system(old, Request.RESIZE)
    check_no_resize(old, resized=settling.is_kept(parts, uuid))
    check_same_guest(old, guest)
    if present is not None and present.domain.find("cpu/numa") is not None:
        _refuse_cells(old, guest)
    guest = architecture.keeping_machine(guest, old)
    plan = parts.plan(old, present=present)
    changes.require(plan, present, old.name)
    changes.refuse_inside(present, plan.directory, "a resize would move")
    sizes = parts.on_domain(uuid, lambda domain: _sizes(domain, plan))
    planned = parts.plan(old, new_files=True).places
    home = parts.home(uuid)
    home.require_room(
        source
        for disk in plan.disks
        if not disk.readonly
        for source in _copied(disk.source, planned[disk.name], home)
    )
    guest = dataclasses.replace(
        guest, image=old.image, boot=old.boot, root=_root(old, guest, sizes.get(Role.ROOT, 0))
    )
    wanted = {disk.name: disk.size_bytes for disk in parts.plan(guest, present=present).disks}
    check_sizes(guest.name, sizes, wanted)
    return Change(old, guest, admission.check_guest(parts, guest), sizes)


def resize(
    parts: Parts, change: Change, op: Operation, *, timeout: float, power_on: bool | None
) -> None:
    """Shut a guest down and make it the new one; on failure it becomes the old one again.

    :param change: what :func:`check_resize` returned.
    :param op: the operation, whose failure takes the change back.
    :param timeout: see :func:`power.shut_down`.
    :param power_on: see :meth:`compute_driver.driver.ComputeDriver.resize`.
    """
    uuid = change.new.uuid
    was_on = parts.state(uuid) not in OFF
    power_on = was_on if power_on is None else power_on
    op.note()  # the resize does not begin without its note
    power.on_again(parts, uuid, op.undo, running=was_on)
    power.shut_down(parts, uuid, timeout)
    op.undo.add(f"resize of {change.new.name}", _take_back, parts, change, was_on)
    parts.ports.unplug(uuid, change.old.interfaces)
    _make(parts, change, was_on=was_on, power_on=power_on)
    settling.mend(parts, uuid)
    steps.announce("guest resized")
    report(change.new, change.decision)
    if power_on:
        power.power_on(parts, change.new)


def _take_back(parts: Parts, change: Change, was_on: bool) -> None:
    """Make a guest the old one, however far its resize has come."""
    uuid = change.old.uuid
    marks.want(parts, uuid, running=was_on)
    power.power_off(parts, uuid)  # no emulator may have files open that change places
    parts.ports.unplug(uuid, change.new.interfaces)
    settling.bring_back(parts, uuid, running=was_on)


def _make(parts: Parts, change: Change, *, was_on: bool, power_on: bool) -> None:
    """Make all files of a stopped guest anew and define its domain.

    :param was_on: whether the old guest was powered on.
    :param power_on: whether the new guest is.
    """
    uuid = change.new.uuid
    directory = parts.directory(uuid)
    making = directory / exchange.MAKING
    filesystem.make_directory(making, filesystem.PASSABLE)
    description = parts.on_domain(uuid, parts.ownership.description)
    Description.kept(directory, exchange.MAKING).write(description)
    if was_on:
        with files.new_file(making / exchange.POWERED_ON):
            pass
    before, after = parts.plan(change.old), parts.plan(change.new, new_files=True)
    _make_files(change, before, after, parts.home(uuid), tools.limits(parts.conf))
    redefining.redefine(parts, change.new, change.decision, new_files=True)
    exchange.commit(directory)
    marks.want(parts, uuid, running=power_on)
    steps.announce("new files complete")


def _copied(source: Source, planned: Source, home: Home) -> list[Source]:
    """Return the disk and files whose content the copy of a disk has."""
    if _stands_alone(source, planned, home):
        return [source]
    bases = disks.kind(source).bases(source)
    return [source, *(FileSource(path=base, format=source.format) for base in bases)]


def _stands_alone(source: Source, planned: Source, home: Home) -> bool:
    """Tell whether a disk is where the driver plans it, and based on no other disk of the guest.

    Another client may have made a chain of files, which a resize would break.
    """
    own = {Path(other.address) for other in home.outside()}
    return source == planned and not any(
        base in own or base.is_relative_to(home.directory)
        for base in disks.kind(source).bases(source)
    )


def _refuse_cells(old: Guest, guest: Guest) -> None:
    for field in ("memory_mib", "vcpus"):
        before, wanted = getattr(old, field), getattr(guest, field)
        if before != wanted:
            accepted = (
                f"{before}, as another client of libvirt has divided memory and processors into"
                " NUMA cells; 'virsh edit' removes <numa>"
            )
            raise exceptions.InvalidParameter(field, wanted, accepted)


def _sizes(domain: libvirt.virDomain, plan: layout.Layout) -> dict[str, int]:
    return {
        disk.name: domains.disk_size(domain, disk.source)
        for disk in plan.disks
        if disk.role in GROWING
    }


def _root(old: Guest, guest: Guest, size: int) -> Disk | None:
    """Return the root disk, with the size that it has if no size is wanted."""
    wanted = guest.root or old.root
    if size and (wanted is None or wanted.size_bytes == 0 or guest.root is None):
        return dataclasses.replace(wanted or Disk(), size_bytes=size)
    return wanted


def _make_files(
    change: Change,
    before: layout.Layout,
    after: layout.Layout,
    home: Home,
    limits: tools.ToolLimits,
) -> None:
    """Make all files of the new layout in a directory of their own."""
    making = home.directory / exchange.MAKING
    old, new = change.old, change.new
    allocate = home.conf.hypervisor.preallocate_disks
    for path in (after.kernel, after.ramdisk):
        if path is not None:
            files.place(path, making / path.name)
    if after.nvram is not None and _same_firmware(old, new) and after.nvram.exists():
        files.clone(after.nvram, making / after.nvram.name, limits)
    for disk in after.disks:
        target = disk.source.inside(making)
        old_disk = before.disk(disk.name)
        kind = disks.kind(target)
        if disk.role is Role.CONFIG_DRIVE and new.config_drive != old.config_drive:
            assert new.config_drive is not None
            config_drive.build(new.config_drive, new, target)
        elif old_disk is None or (
            disk.role is Role.SWAP and old_disk.size_bytes != disk.size_bytes
        ):
            new_disk = dataclasses.replace(disk, source=target)
            disks.make(new_disk, None, limits, allocate=allocate)
        elif old_disk.readonly:
            kind.place(old_disk.source, target)
        else:
            disks.require_stated(old_disk.source)
            alone = _stands_alone(old_disk.source, disk.source, home)
            copy = kind.clone if alone else disks.flatten
            copy(old_disk.source, target, limits)
            if disk.size_bytes > change.sizes.get(disk.name, disk.size_bytes):
                kind.grow(target, disk.size_bytes, limits)
            if allocate:  # a copy has holes
                kind.allocate(target, disk.size_bytes, limits)
        steps.announce("disk copied")


def _same_firmware(old: Guest, new: Guest) -> bool:
    def kind(guest: Guest) -> tuple[bool, bool, str]:
        return architecture.has_uefi(guest), guest.secure_boot, architecture.machine_type(guest)

    return kind(old) == kind(new)
