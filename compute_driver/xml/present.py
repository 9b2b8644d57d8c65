# SPDX-License-Identifier: Apache-2.0
"""What a guest's domain has in libvirt, from this driver and from other clients.

Another client may have made an external snapshot, copied or committed a disk, added a device, or
changed the memory.  The driver follows: a domain that is built anew has the guest's disks where
libvirt's domain has them, and keeps the devices and elements that this driver never writes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lxml import etree

from compute_driver import exceptions
from compute_driver.guest import Guest, renamed
from compute_driver.storage.layout import GuestDisk, Layout, Role, is_name
from compute_driver.storage.source import Source
from compute_driver.xml import disk as disk_xml
from compute_driver.xml import metadata, source
from compute_driver.xml.elements import E, Element

#: Devices that this driver never writes, and that libvirt never adds by itself.
_DEVICES = (
    *("hostdev", "filesystem", "redirdev", "smartcard", "tpm", "shmem", "vsock", "lease"),
    "crypto",
)

#: Other such elements of a domain.
_ELEMENTS = ("title", "description", "memoryBacking", "numatune", "iothreads")

#: Types of addresses that libvirt does not give by itself.
_KEPT_ADDRESSES = frozenset({"virtio-mmio"})

_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a domain has a disk.

    :param source: where the disk's bytes are; None if the driver has no such kind of source.
    :param words: the place, for people to read.
    """

    source: Source | None
    words: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Present:
    """What a guest's domain has in libvirt.

    :param stored: the content of the domain's metadata.
    :param disks: the places of the guest's disks now, by the disks' names.
    :param described: the places of the guest's disks from the next power-on.
    :param domain: the domain from its next power-on.
    :param running: the domain that runs; None if it does not run.
    """

    stored: metadata.Stored
    disks: Mapping[str, Place]
    described: Mapping[str, Place]
    domain: Element
    running: Element | None

    @property
    def guest(self) -> Guest:
        """The stored guest with the memory and processors that the domain has."""
        guest, domain = self.stored.guest, self.domain
        kib, vcpus = int(domain.findtext("memory", "0")), int(domain.findtext("vcpu", "0"))
        changes: dict[str, Any] = {}
        # The memory of a domain with places for more modules includes the modules.
        if kib not in (0, guest.memory_mib * _KIB) and domain.find("maxMemory") is None:
            changes["memory_mib"] = -(-kib // _KIB)
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

    @property
    def added_devices(self) -> list[Element]:
        """The devices that another client has added."""
        interfaces = (
            interface
            for interface in self.domain.iterfind("devices/interface")
            if _mac(interface) not in {nic.mac for nic in self.stored.guest.interfaces}
        )
        others = (device for tag in _DEVICES for device in self.domain.iterfind(f"devices/{tag}"))
        return [*self.added_disks, *interfaces, *others]

    @property
    def macs(self) -> set[str]:
        """The MAC addresses of all interfaces, also of those that another client has added."""
        return {_mac(interface) for interface in self.domain.iterfind("devices/interface")}


def read(inactive: str, live: str | None, directory: Path) -> Present | None:
    """Return what a domain has.

    :param inactive: the domain's XML from its next power-on.
    :param live: the XML of the domain that runs; None if it does not run.
    :param directory: where the guest's directory is now.
    :return: None if the domain has no metadata of this driver's.
    :raises MetadataDamaged: if the metadata cannot be understood.
    """
    stored = metadata.read(inactive)
    if stored is None:
        return None
    domain = _moved(inactive, directory)
    guest = renamed(stored.guest, domain.findtext("name", ""))
    stored = dataclasses.replace(stored, guest=guest)
    described = dict(_places(domain))
    # A guest that runs writes where its emulator has the disk.
    running = None if live is None else _moved(live, directory)
    return Present(
        stored=stored,
        disks=described if running is None else described | dict(_places(running)),
        described=described,
        domain=domain,
        running=running,
    )


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


def carry(xml: str, present: Present) -> str:
    """Return the XML of a domain with all that another client has added to the present domain.

    :param xml: the domain as this driver has built it.
    """
    domain = etree.fromstring(xml)
    devices, own_metadata = domain.find("devices"), domain.find("metadata")
    assert devices is not None
    assert own_metadata is not None
    annotations = metadata.elements(present.stored.guest.annotations)
    ours = {etree.QName(element).namespace for element in (*own_metadata, *annotations)}
    for tag in _ELEMENTS:
        domain.extend(copy.deepcopy(element) for element in present.domain.iterfind(tag))
    own_metadata.extend(
        copy.deepcopy(element)
        for element in present.domain.iterfind("metadata/*")
        if etree.QName(element).namespace not in ours
    )
    _keep_parts(domain, present.domain)
    added = present.added_devices
    controllers = list(_scsi_controllers(present.domain, devices, added))
    devices.extend(_free(controller, devices) for controller in controllers)
    carried = {_index(controller) for controller in controllers}
    for device in added:
        made = _free(device, devices)
        if _scsi_controller(device) in carried:
            made.extend(copy.deepcopy(place) for place in device.iterfind("address"))
        devices.append(made)
    return etree.tostring(domain, encoding="unicode", pretty_print=True)


def _scsi_controllers(
    present: Element, devices: Element, added: list[Element]
) -> Iterator[Element]:
    """Yield the SCSI controllers of added devices that the new domain does not have by itself.

    libvirt makes a controller that a domain lacks, but of its default model.
    """
    path = "controller[@type='scsi']"
    wanted = {_scsi_controller(device) for device in added}
    own = {_index(controller) for controller in devices.iterfind(path)}
    for controller in present.iterfind(f"devices/{path}"):
        if _index(controller) in wanted - own:
            yield controller


def _index(controller: Element) -> str:
    return controller.get("index", "0")


def _scsi_controller(device: Element) -> str | None:
    """Return the index of the SCSI controller that a device is on."""
    place = device.find("address[@type='drive']")
    on_scsi = device.get("type") == "scsi" or device.find("target[@bus='scsi']") is not None
    return place.get("controller") if place is not None and on_scsi else None


def _free(device: Element, devices: Element) -> Element:
    """Return a device without what belongs to the devices of the new domain."""
    made = copy.deepcopy(device)
    for child in (*made.iterfind("address"), *made.iterfind("alias"), *made.iterfind("boot")):
        if child.tag != "address" or child.get("type") not in _KEPT_ADDRESSES:
            made.remove(child)
    target = made.find("target") if made.tag == "disk" else None
    if target is not None:
        name = target.get("dev", "")
        taken = {each.get("dev", "") for each in devices.iterfind("disk/target")}
        target.set("dev", disk_xml.free_name(name, taken) if name in taken else name)
    return made


def _keep_parts(domain: Element, present: Element) -> None:
    """Keep how much of the memory and how many of the processors the guest has at its start."""
    memory, vcpu = present.findtext("memory"), present.find("vcpu")
    current = present.findtext("currentMemory")
    ours = domain.find("memory")
    assert ours is not None
    if current not in (None, memory) and memory == str(int(ours.text or 0) * _KIB):
        ours.addnext(E.currentMemory(current, unit="KiB"))
    own = domain.find("vcpu")
    assert own is not None
    if vcpu is not None and vcpu.get("current") and vcpu.text == own.text:
        own.set("current", vcpu.get("current", ""))


def _moved(xml: str, directory: Path) -> Element:
    """Return a domain whose files are in the guest's directory as it is called now."""
    claim = metadata.claim(xml)
    return etree.fromstring(xml if claim is None else source.moved(xml, claim.directory, directory))


def _places(domain: Element) -> Iterator[tuple[str, Place]]:
    for disk in domain.iterfind("devices/disk"):
        if _is_own(disk):
            yield disk.findtext("serial", ""), Place(source.read(disk), source.words(disk))


def _added_disks(domain: Element) -> list[Element]:
    return [disk for disk in domain.iterfind("devices/disk") if not _is_own(disk)]


def _is_own(disk: Element) -> bool:
    return is_name(disk.findtext("serial", ""))


def _mac(interface: Element) -> str:
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()
