# SPDX-License-Identifier: Apache-2.0
"""What other clients of libvirt have changed in a guest's domain, for people to read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.info import Finding
from compute_driver.operations.base.context import Parts
from compute_driver.storage.layout import GuestDisk, Role
from compute_driver.xml import source as source_xml
from compute_driver.xml.elements import Element
from compute_driver.xml.present import Present

LOG = logging.getLogger(__name__)


def findings(parts: Parts, uuid: str) -> Iterator[Finding]:
    """Yield the changes that the guest keeps, and those that its next power-on takes back.

    :raises DiskUnusable: if the driver cannot use the place of a disk, or cannot know it.
    :raises MetadataDamaged: if the metadata cannot be understood.
    """
    present = parts.present(uuid)
    if present is not None:
        yield from _kept(parts, present)
        yield from _taken_back(parts, present)


def warn(parts: Parts, uuid: str) -> None:
    """Log the changes that are taken back when the domain is built anew."""
    present = parts.present(uuid)
    for finding in () if present is None else _taken_back(parts, present):
        LOG.warning("%s %s: %s", finding.kind, finding.subject, finding.detail)


@contextlib.contextmanager
def removing(parts: Parts, uuid: str, known: Present | None = None) -> Iterator[None]:
    """Log, after the removal of a guest's disks, the disks that stay: another client moved them.

    :param known: what the guest's domain had; None means the domain as it is now.
    """
    left: list[str] = []
    with contextlib.suppress(exceptions.ComputeDriverError):  # a removal works anyway
        present = known or parts.present(uuid)
        home = parts.home(uuid)
        own = {source.address for source in home.outside()}
        for name, place in {} if present is None else present.disks.items():
            address = None if place.source is None else place.source.address
            if address is None or not (address in own or _is_inside(address, home.directory)):
                left.append(f"{address or place.words} stays, which was the {name} disk of guest")
    yield
    for text in left:
        LOG.warning("%s %s: another client of libvirt has moved the disk there", text, uuid)


def _kept(parts: Parts, present: Present) -> Iterator[Finding]:
    guest = present.guest
    planned = parts.plan(guest, new_files=True).places
    for name, source in parts.plan(guest).places.items():
        if source != planned[name]:
            yield Finding(
                kind="moved disk",
                subject=source.address,
                detail=f"the {name} disk of guest {guest.uuid}, which another client of libvirt has"
                f" moved from {planned[name].address}; the guest keeps it; 'virsh blockcommit' or"
                " 'virsh blockcopy' with '--pivot' moves it back",
            )
    for device in present.added_devices:
        yield Finding(
            kind="added device",
            subject=guest.uuid,
            detail=f"another client of libvirt has added {_words(device)}; the guest keeps it until"
            " 'virsh detach-device --config' removes it",
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


def _taken_back(parts: Parts, present: Present) -> Iterator[Finding]:
    guest = present.guest
    for disk in parts.plan(guest).disks:
        change = _change(disk, present, parts.directory(guest.uuid))
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
                " power-on brings it back, and 'interface detach' removes it",
            )


def _change(disk: GuestDisk, present: Present, directory: Path) -> tuple[str, str] | None:
    """Return what a domain is to have of a disk, if it is not what the driver gives to the guest.

    :return: the kind of the change, and words for people to read.
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
    return f"{device.tag} {name if mac is None else mac.get('address', '')}".rstrip()
