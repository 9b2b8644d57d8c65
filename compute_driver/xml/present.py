# SPDX-License-Identifier: Apache-2.0
"""What a guest's domain has in libvirt, from this driver and from other clients.

Another client may have made an external snapshot, copied or committed a disk, added a device, or
changed the memory.  The driver follows: a domain that is built anew has the guest's disks where
libvirt's domain has them; :mod:`compute_driver.xml.carrying` keeps the other changes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lxml import etree

from compute_driver import exceptions
from compute_driver.guest import Guest, renamed
from compute_driver.storage.layout import GuestDisk, Layout, Role
from compute_driver.storage.source import Source
from compute_driver.xml import comparison, metadata, source
from compute_driver.xml import disk as disk_xml
from compute_driver.xml.comparison import Baseline, is_own
from compute_driver.xml.elements import KIB_PER_MIB, Element
from compute_driver.xml.interface import mac_of


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a domain has a disk.

    :param source: where the disk's bytes are; None if the driver has no such kind of source.
    :param words: the place, for people to read.
    """

    source: Source | None
    words: str

    def is_own(self, directory: Path, outside: Collection[str]) -> bool:
        """Tell whether a guest's disk is where the driver puts such disks, or the drive is empty.

        :param directory: the guest's directory.
        :param outside: the addresses of the guest's own disks elsewhere.
        """
        if self.words == source.EMPTY:
            return True
        address = None if self.source is None else self.source.address
        return address is not None and (
            address in outside or Path(address).is_relative_to(directory)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Present:
    """What a guest's domain has in libvirt.

    :param stored: the content of the domain's metadata.
    :param disks: the places of the guest's disks now, by the disks' names.
    :param described: the places of the guest's disks from the next power-on.
    :param domain: the domain from its next power-on.
    :param running: the domain that runs; None if it does not run.
    :param directory: the directory of the guest's files when the domain was started, or was
        defined if the domain does not run.
    :param unchanged: whether the driver knows for certain that no other client has changed the
        domain from its next power-on.
    :param undefined: whether libvirt has no such domain any more: the files of the guest were kept.
    :param find_note: returns the note of what libvirt has made of the domain when this driver has
        defined it last; None without one.  Most readers need no note, which is long.
    """

    stored: metadata.Stored
    disks: Mapping[str, Place]
    described: Mapping[str, Place]
    domain: Element
    running: Element | None
    directory: Path
    undefined: bool = False
    unchanged: bool = False
    find_note: Callable[[], Element | None] | None = None

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """The domain without the changes of other clients; None if this is not known."""
        note = self.find_note and self.find_note()
        return None if note is None else comparison.read(note)

    @functools.cached_property
    def guest(self) -> Guest:
        """The stored guest with the memory and processors that the domain has."""
        guest, domain = self.stored.guest, self.domain
        kib, vcpus = int(domain.findtext("memory", "0")), int(domain.findtext("vcpu", "0"))
        changes: dict[str, Any] = {}
        # The memory of a domain with places for more modules includes the modules.
        if kib not in (0, guest.memory_mib * KIB_PER_MIB) and domain.find("maxMemory") is None:
            changes["memory_mib"] = -(-kib // KIB_PER_MIB)
        if vcpus not in (0, guest.vcpus) and guest.cpu.topology is None:
            changes["vcpus"] = vcpus
        try:
            return dataclasses.replace(guest, **changes)
        except exceptions.InvalidParameter:  # an interface has more queues than that, say
            return guest

    @property
    def added_disks(self) -> list[Element]:
        """The disks that another client has added, from the next power-on."""
        return _added_disks(self.domain)

    @property
    def added_files(self) -> list[Path]:
        """The files of the disks that another client has added, now or from the next power-on."""
        running = [] if self.running is None else _added_disks(self.running)
        places = (disk.find("source[@file]") for disk in (*self.added_disks, *running))
        return [Path(place.get("file", "")) for place in places if place is not None]

    def is_inside(self, directory: Path, outside: Collection[str]) -> bool:
        """Tell whether all disks are the guest's own; see :meth:`Place.is_own`."""
        places = (*self.disks.values(), *self.described.values())
        return not (self.added_disks or self.added_files) and all(
            place.is_own(directory, outside) for place in places
        )

    @property
    def macs(self) -> set[str]:
        """The MAC addresses of all interfaces, also of those that another client has added."""
        return {mac_of(interface) for interface in self.domain.iterfind("devices/interface")}


def read(
    inactive: str,
    live: str | None,
    directory: Path,
    find_note: Callable[[], Element | None] | None = None,
    *,
    undefined: bool = False,
    unchanged: bool = False,
) -> Present | None:
    """Return what a domain has.

    :param inactive: the domain's XML from its next power-on.
    :param live: the XML of the domain that runs; None if it does not run.
    :param directory: where the guest's directory is now.
    :param find_note: see :class:`Present`.
    :param undefined: likewise.
    :param unchanged: likewise.
    :return: None if the domain has no metadata of this driver's.
    :raises MetadataDamaged: if the metadata cannot be understood.
    """
    stored = metadata.read(inactive)
    if stored is None:
        return None
    claimed, domain = _moved(inactive, directory)
    guest = renamed(stored.guest, domain.findtext("name", ""))
    stored = dataclasses.replace(stored, guest=guest)
    described = dict(_places(domain))
    # A guest that runs writes where its emulator has the disk.
    running = None
    if live is not None:
        claimed, running = _moved(live, directory)
    return Present(
        stored=stored,
        disks=described if running is None else described | dict(_places(running)),
        described=described,
        domain=domain,
        running=running,
        directory=claimed,
        undefined=undefined,
        unchanged=unchanged,
        find_note=find_note,
    )


def places(xml: str, directory: Path) -> dict[str, Place]:
    """Return the places of a guest's disks, by the disks' names, also with damaged metadata.

    :param xml: the domain's XML.
    :param directory: where the guest's directory is now.
    """
    _claimed, domain = _moved(xml, directory)
    return dict(_places(domain))


def located(plan: Layout, present: Present) -> Layout:
    """Return a guest's layout with its disks where the domain has them.

    :param plan: the layout as this driver has planned it.
    :raises DiskUnusable: if the driver cannot use the place of a disk, or cannot know it.
    """
    disks = tuple(_located(disk, present) for disk in plan.disks)
    return dataclasses.replace(plan, disks=disks)


def _located(disk: GuestDisk, present: Present) -> GuestDisk:
    place = present.disks.get(disk.name)
    if disk.role is Role.CONFIG_DRIVE or place is None:
        return disk
    if place.words in (source.EMPTY, source.written(disk.source)):
        return disk
    if place.source is None:
        raise exceptions.DiskUnusable(
            f"the {disk.name} disk of guest {present.stored.guest.name!r} is {place.words} now, and"
            f" not {disk.source.address}; accepted: a file of format qcow2 or raw; 'virsh"
            " blockcopy' with '--pivot' brings the disk back into a file"
        )
    return dataclasses.replace(disk, source=place.source)


def _moved(xml: str, directory: Path) -> tuple[Path, Element]:
    """Return the directory that a domain claims, and the domain with its files in another one.

    :param directory: the guest's directory as it is called now.
    """
    claim = metadata.claim(xml)
    claimed = directory if claim is None else claim.directory
    return claimed, etree.fromstring(source.moved(xml, claimed, directory))


def _places(domain: Element) -> Iterator[tuple[str, Place]]:
    for disk in domain.iterfind("devices/disk"):
        if is_own(disk):
            yield disk_xml.name_of(disk), Place(source.read(disk), source.words(disk))


def _added_disks(domain: Element) -> list[Element]:
    return [disk for disk in domain.iterfind("devices/disk") if not is_own(disk)]
