# SPDX-License-Identifier: Apache-2.0
"""The changes of a guest's domain by other clients of libvirt, for people to read."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE
from compute_driver.guest import Guest
from compute_driver.info import Finding
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.ownership import is_gone
from compute_driver.operations.base import restoring
from compute_driver.operations.base.blueprint import Blueprint
from compute_driver.operations.base.context import Parts
from compute_driver.storage import disks
from compute_driver.storage.layout import GuestDisk, Layout, Role
from compute_driver.system import concurrency
from compute_driver.xml import carrying, comparison
from compute_driver.xml import source as source_xml
from compute_driver.xml.carrying import Differences
from compute_driver.xml.elements import Element
from compute_driver.xml.present import Place, Present

LOG = logging.getLogger(__name__)

#: Words about a guest, which change nothing for the guest.
_WORDS = frozenset({"title", "description"})

#: Devices that this driver finds by its own description.
_FOUND = ("devices/disk[", "devices/interface[")


def findings(present: Present, planned: Layout, plan: Layout) -> Iterator[Finding]:
    """Yield the changes that the guest keeps, and those that its next power-on takes back.

    :param present: what the guest's domain has.
    :param planned: the guest's files as this driver plans them.
    :param plan: the guest's files where its domain has them.
    """
    difference = carrying.differences(present)
    yield from _kept(present, planned, plan, difference)
    yield from _taken_back(present, plan, difference)


def identity_findings(
    parts: Parts, guest: Guest, present: Present, *, transient: bool, repair: bool
) -> Iterator[Finding]:
    """Yield the changes of a guest's name, of its domain's definition, and of its files' paths.

    :param present: what the guest's domain has.
    :param transient: whether the domain was seen without a definition.
    :param repair: whether an undefined domain is defined again.
    :raises GuestNotFound: if this driver has no such guest.
    """
    uuid = guest.uuid
    fault = parts.name_fault(guest)
    if fault is not None:
        yield Finding(
            kind="unusable name",
            subject=uuid,
            detail=f"another client has named the guest {guest.name!r}; accepted: {fault.accepted}",
        )
    if transient and not parts.on_domain(uuid, libvirt.virDomain.isPersistent):
        if repair:
            restoring.complete(parts, uuid)
        yield Finding(
            kind="undefined guest",
            subject=uuid,
            detail="another client has undefined its domain, which runs; the next operation"
            " defines it again",
            repaired=repair,
        )
    # A guest that resumes gets the new paths.
    if concurrency.run_blocking(is_gone, present.directory) and parts.state(uuid) in ACTIVE:
        yield Finding(
            kind="moved guest",
            subject=uuid,
            detail="the guest's files have moved since its start; a hard reboot gives the guest the"
            " new paths",
        )


def warn(parts: Parts, present: Present | None, blueprint: Blueprint) -> None:
    """Log the changes that are taken back or lost when the domain is built anew.

    :param present: what the guest's domain has.
    :param blueprint: the guest with its new domain.
    """
    if present is None:
        return
    for path in blueprint.lost:
        LOG.warning(
            "Guest %s: another client of libvirt has changed %s, and this change is lost: the"
            " driver now changes the same value",
            present.stored.guest.uuid,
            path,
        )
    plan = parts.plan(present.guest, present=present)
    for finding in _taken_back(present, plan, carrying.differences(present)):
        LOG.warning("%s %s: %s", finding.kind, finding.subject, finding.detail)


def require(plan: Layout, present: Present | None, guest: str) -> None:
    """Return if all disks of a guest are there, and what another client has added.

    :param present: what the guest's domain has.
    :param guest: the guest's name, for the error.
    :raises DiskUnusable: names the disk or the file system, and what is missing.
    """
    disks.require(plan, guest)
    require_added(present, guest)


def require_added(present: Present | None, guest: str) -> None:
    """Return if the disks and directories are there that another client has added to a guest.

    :param present: see :func:`require`.
    :param guest: likewise.
    :raises DiskUnusable: likewise.
    """
    for name, gone in missing(present):
        kind = name.partition(" ")[0]
        remove = f"'virsh detach-disk --config {guest} {name.removeprefix('disk ')}'"
        if kind != "disk":
            remove = "'virsh detach-device --config'"
        raise exceptions.DiskUnusable(
            f"{name} of guest {guest!r}, which another client has added, cannot be used: {gone} is"
            f" gone; bring it back first, or remove the {kind} by {remove}"
        )


def missing(present: Present | None) -> Iterator[tuple[str, str]]:
    """Yield the names of disks and file systems of other clients, and what these lack on the host.

    libvirt starts a guest without a disk whose file is optional.
    """
    if present is not None:
        yield from _missing_disks(present)
        yield from _missing_directories(present)


def _missing_directories(present: Present) -> Iterator[tuple[str, str]]:
    for shared in present.domain.iterfind("devices/filesystem"):
        place, target = shared.find("source"), shared.find("target")
        words = [] if place is None else [place.get(name) for name in ("dir", "file", "dev")]
        for path in filter(None, words):
            with contextlib.suppress(OSError):  # of a directory that the driver may not read
                if not Path(path).exists():
                    name = "" if target is None else target.get("dir", "")
                    yield f"filesystem {name}", path


def _missing_disks(present: Present) -> Iterator[tuple[str, str]]:
    for disk in present.added_disks:
        place, target = disk.find("source"), disk.find("target")
        if place is None or target is None or place.get("startupPolicy") == "optional":
            continue
        source, path = source_xml.read(disk), place.get("file") or place.get("dev")
        gone = None
        with contextlib.suppress(OSError):  # of a directory that the driver may not read
            if source is not None:
                gone = disks.missing(source)
            elif path and not Path(path).exists():
                gone = path
        if gone:
            yield f"disk {target.get('dev', '')}", gone


def refuse_inside(present: Present | None, directory: Path, loss: str) -> None:
    """Refuse an operation that takes the files in a guest's directory as the guest's own.

    :param present: what the guest's domain has.
    :param loss: what the operation would do to the file of an added disk.
    :raises DiskUnusable: if another client has added a disk whose file is in the directory.
    """
    if present is None:
        return
    for path in present.added_files:
        if path.is_relative_to(directory):
            raise exceptions.DiskUnusable(
                f"guest {present.guest.name!r} has disk {path}, which another client has added;"
                f" {loss} this file: detach the disk, or move it out of the guest's directory"
            )


@contextlib.contextmanager
def removing(
    parts: Parts, uuid: str, *reads: Callable[[Parts, str], Mapping[str, Place]]
) -> Iterator[None]:
    """Log, after the removal of a guest's disks, the disks that stay: another client moved them.

    :param reads: the functions that read the places of the disks that the guest's domain has, or
        had when the removed disks were the guest's.
    """
    left: dict[str, None] = {}

    def look() -> None:
        for read in reads:
            with contextlib.suppress(exceptions.ComputeDriverError):  # a removal works anyway
                left.update(dict.fromkeys(_outside(parts, uuid, read(parts, uuid))))

    # libvirt 11 waits half a minute for an emulator that hangs.
    concurrency.within(time.monotonic() + domains.ANSWER_SECONDS, look)
    yield
    for text in list(left):
        LOG.warning("%s %s: another client of libvirt has moved the disk there", text, uuid)


def _outside(parts: Parts, uuid: str, places: Mapping[str, Place]) -> Iterator[str]:
    home = parts.home(uuid)
    own = {source.address for source in home.outside()}
    for name, place in places.items():
        if not place.is_own(home.directory, own):
            address = place.words if place.source is None else place.source.address
            yield f"{address} stays, which was the {name} disk of guest"


def _kept(
    present: Present, planned: Layout, plan: Layout, difference: Differences
) -> Iterator[Finding]:
    guest, places = present.guest, planned.places
    for name, source in plan.places.items():
        if source != places[name]:
            yield Finding(
                kind="moved disk",
                subject=source.address,
                detail=f"the {name} disk of guest {guest.uuid}, which another client of libvirt has"
                f" moved from {places[name].address}; the guest keeps it; 'virsh blockcommit' or"
                " 'virsh blockcopy' with '--pivot' moves it back",
            )
    elements = comparison.elements(present.domain) if difference.added else {}
    for path in difference.added:
        if comparison.parent(path) == "devices":
            yield Finding(
                kind="added device",
                subject=guest.uuid,
                detail=f"another client of libvirt has added {_words(elements[path])}; the guest"
                " keeps it until 'virsh detach-device --config' removes it",
            )
    for path in (*difference.added, *difference.changed):
        if comparison.parent(path) != "devices" and path not in _WORDS:
            yield Finding(
                kind="changed setting",
                subject=guest.uuid,
                detail=f"another client of libvirt has set {path}; the guest keeps it",
            )
    stored = present.stored.guest
    for name, before, now in (
        ("memory in MiB", stored.memory_mib, guest.memory_mib),
        ("number of virtual CPUs", stored.vcpus, guest.vcpus),
    ):
        if before != now:
            yield Finding(
                kind="changed size",
                subject=guest.uuid,
                detail=f"another client of libvirt has set the {name} from {before} to {now}; the"
                " guest keeps it",
            )


def _taken_back(present: Present, plan: Layout, difference: Differences) -> Iterator[Finding]:
    guest = present.guest
    for disk in plan.disks:
        change = _change(disk, present, plan.directory)
        if change is not None:
            kind, words = change
            yield Finding(
                kind=kind,
                subject=guest.uuid,
                detail=f"another client of libvirt has {words} the {disk.name} disk from the next"
                f" power-on; a hard reboot brings {disk.source.address} back",
            )
    for interface in guest.interfaces:
        if interface.mac not in present.macs:
            yield Finding(
                kind="removed device",
                subject=guest.uuid,
                detail=f"another client of libvirt has removed interface {interface.mac}; the next"
                " power-on brings it back, and 'detach interface' removes it",
            )
    for verb, paths in (("set", difference.decided), ("removed", difference.removed)):
        for path in paths:
            device = verb == "removed" and comparison.parent(path) == "devices"
            if not (device and path.startswith(_FOUND)):
                yield Finding(
                    kind="removed device" if device else "changed setting",
                    subject=guest.uuid,
                    detail=f"another client of libvirt has {verb} {path}; the next power-on takes"
                    " this back",
                )


def _change(disk: GuestDisk, present: Present, directory: Path) -> tuple[str, str] | None:
    """Return the change that another client of libvirt has made to a disk from the next power-on.

    :return: the kind of the finding, and the verb of its detail; None without a change.
    """
    now, then = present.disks.get(disk.name), present.described.get(disk.name)
    if then is None:
        return "removed device", "removed"
    if disk.role is Role.CONFIG_DRIVE:
        source = then.source
        own = source is None or _is_inside(source.address, directory)
        same = own or then.words == source_xml.written(disk.source)
    else:
        same = now is None or now == then or now.words == source_xml.EMPTY
    return None if same else ("changed disk", f"put {then.words} in place of")


def _is_inside(address: str, directory: Path) -> bool:
    return Path(address).is_relative_to(directory)


def _words(device: Element) -> str:
    target, mac = device.find("target"), device.find("mac")
    name = "" if target is None else target.get("dev", "")
    if device.tag == "disk":
        return f"disk {name}, {source_xml.words(device)}"
    words = name if mac is None else mac.get("address", "")
    return f"{device.tag} {words or device.get('model') or device.get('type') or ''}".rstrip()
