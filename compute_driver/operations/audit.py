# SPDX-License-Identifier: Apache-2.0
"""Finds resources without a guest, and faults of guests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import StateReason
from compute_driver.guest import Guest, is_uuid
from compute_driver.info import Finding
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import inventory, reasons
from compute_driver.libvirt.embedded.leftovers import find_left_directories
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base import (
    changes,
    disk_copy,
    image_users,
    journal,
    removal,
    rescue_files,
    restoring,
)
from compute_driver.operations.base.context import Parts
from compute_driver.storage import disks, layout, owner
from compute_driver.xml.present import Present

#: Files that an operation on a guest may leave: the kind and detail of a finding, the files, and
#: their removal.  Recovery removes these files, too, as long as the note of the operation is there.
_LEFTOVERS: tuple[
    tuple[str, str, Callable[[Parts, str], list[Path]], Callable[[Parts, str], None]], ...
] = (
    (
        "partial snapshot",
        "an interrupted snapshot left it",
        disk_copy.leftovers,
        disk_copy.mend,
    ),
    ("orphan file", "of a rescue that is over", rescue_files.leftovers, rescue_files.mend),
)


def audit(parts: Parts, *, repair: bool) -> tuple[Finding, ...]:
    """Compare libvirt's domains with the files; guests under an operation are left alone.

    :param repair: see :meth:`compute_driver.driver.ComputeDriver.audit`.
    """
    return (
        *_directories(parts, repair),
        *_guests(parts, repair),
        *_ports(parts, repair),
        *_images(parts, repair),
        *_system_directories(repair),
    )


def _directories(parts: Parts, repair: bool) -> Iterator[Finding]:
    root = parts.ownership.instances
    owned = _ours(parts)
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        uuid = path.name.removesuffix(removal.REMOVED)
        # The directory may have files of other programs, such as lost+found.
        if uuid in owned or not is_uuid(uuid):
            continue
        with journal.unless_busy(parts, uuid) as idle:
            # An operation may have removed the directory, or made its guest, since the two lists.
            if idle and path.exists() and parts.connection.run(parts.ownership.find, uuid) is None:
                yield _orphan(parts, path, repair)


def _orphan(parts: Parts, path: Path, repair: bool) -> Finding:
    uuid = path.name
    if not is_uuid(uuid):  # a removal was interrupted
        return _unowned(parts, path, repair)
    if restoring.has_kept_files(parts, uuid):
        detail = (
            f"destroyed with its files kept; 'spawn --uuid {uuid}', with the image and disks "
            f"that it had, takes them again, 'destroy {uuid}' removes them"
        )
        return Finding(kind="kept directory", subject=str(path), detail=detail)
    if restoring.is_undefined(parts, uuid):
        detail = (
            "its domain is not in this libvirt; unless another host has it, 'start"
            f" {uuid}' defines it again, 'destroy {uuid}' removes the files"
        )
        return Finding(kind="undefined guest", subject=str(path), detail=detail)
    if restoring.lacks_metadata(parts, uuid):
        return _undescribed(
            parts,
            uuid,
            "undescribed guest",
            "another client has removed or replaced this driver's metadata in its domain",
            repair,
        )
    if parts.connection.run(domains.lookup, uuid) is not None:
        detail = "the domain with its UUID is not this driver's, but may use it"
        return Finding(kind="orphan directory", subject=str(path), detail=detail)
    return _unowned(parts, path, repair)


def _undescribed(parts: Parts, uuid: str, kind: str, fault: str, repair: bool) -> Finding:
    """Find a guest whose domain lacks intact metadata; its files may have the description."""
    try:
        restoring.describe_again(parts, uuid, repair=repair)
    except exceptions.ComputeDriverError as error:
        detail = f"{fault}; 'audit --repair' cannot give it back: {error}"
        return Finding(kind=kind, subject=uuid, detail=detail)
    detail = f"{fault}; 'audit --repair' gives it back"
    return Finding(kind=kind, subject=uuid, detail=detail, repaired=repair)


def _unowned(parts: Parts, path: Path, repair: bool) -> Finding:
    """Find a directory without a guest; a repair removes it unless other hosts have guests here."""
    others = owner.other_hosts(path.parent)
    detail = "no guest owns it"
    if others:
        detail = (
            f"no guest of this host owns it, but guests of {', '.join(others)} are in"
            f" {path.parent}, too; 'destroy {path.name}' removes it"
        )
    elif repair:
        removal.remove_files(parts, path.name)
    return Finding(
        kind="orphan directory",
        subject=str(path),
        detail=detail,
        repaired=repair and not others,
    )


def _guests(parts: Parts, repair: bool) -> Iterator[Finding]:
    seen = parts.connection.run(_all_seen, parts.ownership)
    for uuid in sorted(seen):
        with journal.unless_busy(parts, uuid) as idle:
            if idle:
                yield from _guest(parts, uuid, seen[uuid], repair)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What is seen of a guest among all guests; a look at the guest itself must confirm this.

    :param transient: whether the guest's domain has no definition.
    :param halted: whether an I/O error has paused the guest.
    """

    transient: bool
    halted: bool


def _all_seen(connection: libvirt.virConnect, ownership: Ownership) -> dict[str, _Seen]:
    """Return what is seen of all guests of this driver, by UUID."""
    flag = libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT
    transient = {domain.UUIDString() for domain in connection.listAllDomains(flag)}
    found = inventory.states(connection)
    guests = ownership.owned([domain for domain, _numbers in found.values()])
    return {
        uuid: _Seen(uuid in transient, reasons.reason(*found[uuid][1]) is StateReason.IO_ERROR)
        for uuid, _domain, _told in guests
    }


def _guest(parts: Parts, uuid: str, seen: _Seen, repair: bool) -> Iterator[Finding]:
    try:
        present, fault = _present(parts, uuid)
        if fault:
            finding = _undescribed(parts, uuid, "damaged guest", fault, repair)
            yield finding
            if not finding.repaired:
                return
            present, _ = _present(parts, uuid)
        if present is None:
            return  # another client removes the metadata again and again
        guest = present.guest
        planned = parts.plan(guest, new_files=True)
        plan = parts.located(planned, present)
    except exceptions.GuestNotFound:
        return  # the guest was destroyed meanwhile
    except exceptions.ComputeDriverError as error:
        yield Finding(kind="damaged guest", subject=uuid, detail=str(error))
        return
    if not plan.directory.exists():
        yield Finding(
            kind="guest without files",
            subject=uuid,
            detail="its directory is gone, or is not mounted; 'destroy' removes the guest",
        )
        return
    audited = _Audited(parts, guest, planned, plan, present, seen, repair)
    for find in _FINDERS:
        yield from find(audited)


def _present(parts: Parts, uuid: str) -> tuple[Present | None, str]:
    """Return what a guest's domain has, and what is wrong with its metadata; empty if nothing is.

    :raises GuestNotFound: if the guest was destroyed meanwhile.
    """
    try:
        present = parts.defined(uuid)
    except exceptions.MetadataDamaged as error:
        return None, str(error)
    return present, "" if present is not None else "another client has removed the metadata"


@dataclasses.dataclass(frozen=True)
class _Audited:
    """A guest with intact metadata and a directory.

    :param guest: its description.
    :param planned: its files as this driver plans them.
    :param plan: its files where its domain has them.
    :param present: what its domain has.
    :param seen: what is seen of it among all guests.
    :param repair: see :func:`audit`.
    """

    parts: Parts
    guest: Guest
    planned: layout.Layout
    plan: layout.Layout
    present: Present
    seen: _Seen
    repair: bool


def _pause(audited: _Audited) -> Iterator[Finding]:
    parts, uuid = audited.parts, audited.guest.uuid
    halted = audited.seen.halted
    if halted and parts.on_domain(uuid, reasons.reason_of) is StateReason.IO_ERROR:
        detail = parts.on_domain(uuid, reasons.explain)
        yield Finding(kind="paused guest", subject=uuid, detail=detail)


def _log(audited: _Audited) -> Iterator[Finding]:
    log = audited.plan.directory / layout.CONSOLE_LOG
    if audited.present.running is not None and not audited.parts.connection.is_logged(log):
        yield Finding(
            kind="unlogged guest",
            subject=audited.guest.uuid,
            detail="the daemon that writes its console log has ended since its start; 'reboot"
            " --hard' starts the log again",
        )


def _changes(audited: _Audited) -> Iterator[Finding]:
    yield from changes.findings(audited.present, audited.planned, audited.plan)


def _identity(audited: _Audited) -> Iterator[Finding]:
    yield from changes.identity_findings(
        audited.parts,
        audited.guest,
        audited.present,
        transient=audited.seen.transient,
        repair=audited.repair,
    )


def _leftovers(audited: _Audited) -> Iterator[Finding]:
    parts, uuid, repair = audited.parts, audited.guest.uuid, audited.repair
    for kind, detail, leftovers, mend in _LEFTOVERS:
        left = leftovers(parts, uuid)
        if left and repair:
            mend(parts, uuid)
        for path in left:
            yield Finding(kind=kind, subject=str(path), detail=detail, repaired=repair)


def _missing_disks(audited: _Audited) -> Iterator[Finding]:
    for disk in audited.plan.disks:
        if not disks.kind(disk.source).exists(disk.source):
            yield _missing(f"{disk.name} disk", disk.source.address, audited.guest.uuid)


def _missing_devices(audited: _Audited) -> Iterator[Finding]:
    for name, gone in changes.missing(audited.present):
        yield _missing(f"added {name}", gone, audited.guest.uuid)


def _missing_files(audited: _Audited) -> Iterator[Finding]:
    plan, uuid = audited.plan, audited.guest.uuid
    files = {"kernel": plan.kernel, "ramdisk": plan.ramdisk}
    # QEMU, as another user, owns the files that cannot be read.
    bases = audited.parts.home(uuid).bases({})
    files |= {f"base image of {path.name}": base for path, base in bases}
    for name, file in files.items():
        if file is not None and not file.exists():
            yield _missing(name, str(file), uuid)


_FINDERS: tuple[Callable[[_Audited], Iterator[Finding]], ...] = (
    _pause,
    _log,
    _changes,
    _identity,
    _leftovers,
    _missing_disks,
    _missing_devices,
    _missing_files,
)


def _missing(name: str, address: str, uuid: str) -> Finding:
    return Finding(kind="missing file", subject=address, detail=f"the {name} of guest {uuid}")


def _ports(parts: Parts, repair: bool) -> Iterator[Finding]:
    for uuid, interfaces in parts.ports.plugged().items():
        with journal.unless_busy(parts, uuid) as idle:
            # A domain of another program with this UUID may use the ports.
            if not idle or parts.connection.run(domains.lookup, uuid) is not None:
                continue
            if repair:
                parts.ports.unplug(uuid, interfaces)
            for interface in interfaces:
                yield Finding(
                    kind="orphan port",
                    subject=str(interface.switch_port),
                    detail=f"in bridge {interface.source}; its guest {uuid} is gone",
                    repaired=repair,
                )


def _images(parts: Parts, repair: bool) -> Iterator[Finding]:
    images, used = parts.images, image_users.bases(parts).keys()
    for path in images.leftovers(used, remove=repair):
        yield Finding(
            kind="partial image",
            subject=str(path),
            detail="an interrupted fetch left it",
            repaired=repair,
        )


def _system_directories(repair: bool) -> Iterator[Finding]:
    for left in find_left_directories():
        if repair:
            left.repair()
        yield Finding(
            kind="left directory", subject=str(left.path), detail=left.detail, repaired=repair
        )


def _ours(parts: Parts) -> set[str]:
    def owned(connection: libvirt.virConnect) -> set[str]:
        found = connection.listAllDomains()
        return {uuid for uuid, _domain, _told in parts.ownership.owned(found)}

    return parts.connection.run(owned)
