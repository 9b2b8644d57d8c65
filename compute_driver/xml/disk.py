# SPDX-License-Identifier: Apache-2.0
"""Disks, CD-ROMs and their controllers.

Source: libvirt, "Domain XML format", "Hard drives, floppy disks, CDROMs" and "Controllers".
"""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from lxml import etree

from compute_driver.choices import DiskBus, ScsiModel, VirtioForm
from compute_driver.guest import Guest
from compute_driver.limits import DiskLimits
from compute_driver.storage.layout import GuestDisk, Layout, is_disk_name
from compute_driver.xml import source
from compute_driver.xml.elements import USER_ALIAS, E, Element

if TYPE_CHECKING:
    from compute_driver.hardware.description import Hardware

#: Beginnings of device names; buses with the same beginning count letters together.
_PREFIXES = {
    DiskBus.VIRTIO: "vd",
    DiskBus.SCSI: "sd",
    DiskBus.SATA: "sd",
    DiskBus.USB: "sd",
    DiskBus.IDE: "hd",
    DiskBus.FDC: "fd",
}

#: The beginning of the aliases of the guest's disks: libvirt refuses a second disk with an alias,
#: while any client's disk may have the same serial number.
_ALIAS = f"{USER_ALIAS}driver-"

#: SCSI controllers that see one disk at each target; libvirt puts all disks at the first target.
_ONE_UNIT = frozenset({ScsiModel.PVSCSI, ScsiModel.LSISAS1068, ScsiModel.LSISAS1078})


def controllers(hardware: Hardware) -> list[Element]:
    """Return the controllers of the disks' buses."""
    if DiskBus.SCSI not in hardware.drives.buses:
        return []
    scsi, form = hardware.drives.scsi, hardware.virtio.form
    plain = scsi is not ScsiModel.VIRTIO or form is VirtioForm.VIRTIO
    return [E.controller(type="scsi", model=str(scsi if plain else form))]


def disks(guest: Guest, hardware: Hardware, layout: Layout) -> list[Element]:
    """Return one ``<disk>`` for each disk of the guest."""
    used: Counter[str] = Counter()
    targets = itertools.count()
    elements = []
    for disk in layout.disks:
        prefix = _PREFIXES[disk.bus]
        element = _disk(guest, hardware, disk, prefix + _letters(used[prefix]))
        used[prefix] += 1
        if disk.bus is DiskBus.SCSI and hardware.drives.scsi in _ONE_UNIT:
            element.extend(_target(guest, hardware.drives.scsi, next(targets)))
        elements.append(element)
    return elements


def _target(guest: Guest, scsi: ScsiModel, number: int) -> list[Element]:
    place = {"controller": "0", "bus": "0", "target": str(number), "unit": "0"}
    address = E.address({"type": "drive"}, place)
    if scsi is not ScsiModel.LSISAS1068:
        return [address]
    # Linux needs a name to see a SAS disk; the digit 3 marks a name without meaning elsewhere.
    return [E.wwn(f"3{guest.uuid.replace('-', '')[:12]}{number:03x}"), address]


def _disk(guest: Guest, hardware: Hardware, disk: GuestDisk, target: str) -> Element:
    virtio, kind = hardware.virtio, source.kind(disk.source)
    driver = E.driver(name="qemu", type=str(disk.source.format))
    # QEMU's default is writeback, which honours the guest's flushes: "none" needs O_DIRECT, which
    # some file systems do not have.
    if kind in hardware.disk_driver.cache_modes:
        driver.set("cache", hardware.disk_driver.cache_modes[kind])
    element = E.disk(
        {"type": kind, "device": disk.device},
        driver,
        source.element(disk.source),
        E.target(dev=target, bus=str(disk.bus)),
        _alias(disk.name),
    )
    if disk.device != "floppy":  # QEMU's floppy disks have no serial number
        # The guest finds its disks by name: /dev/disk/by-id/virtio-ephemeral0.
        element.append(E.serial(disk.name))
    if disk.bus is DiskBus.VIRTIO and virtio.form is not VirtioForm.VIRTIO:
        element.set("model", str(virtio.form))
    if disk.readonly:
        element.append(E.readonly())
    else:
        driver.set("discard", hardware.disk_driver.discard)
        element.extend(_limits(guest.disk_limits))
    if disk.boot_order is not None:
        element.append(E.boot(order=str(disk.boot_order)))
    return element


def name_of(disk: Element) -> str:
    """Return the name of a guest's disk in a domain.

    :return: :attr:`GuestDisk.name`; empty for a disk of another client.
    """
    if disk.get("device") == "floppy" or _has_aliases(disk.getparent()):
        return _aliased(disk)
    # The driver's own disks come first.
    name, earlier = disk.findtext("serial", ""), disk.itersiblings("disk", preceding=True)
    return "" if any(other.findtext("serial") == name for other in earlier) else name


def marker(name: str, domain: Element) -> str:
    """Return the element that makes a disk of a domain the guest's disk of that name."""
    made = _alias(name) if _has_aliases(domain.find("devices")) else E.serial(name)
    return etree.tostring(made, encoding="unicode")


def _alias(name: str) -> Element:
    return E.alias(name=f"{_ALIAS}{name}")


def _has_aliases(devices: Element | None) -> bool:
    """Tell whether disks have aliases of this driver.

    An earlier release gave only floppy disks aliases.  A guest without disks has none either, so
    another client's disk whose serial number is a name of :class:`GuestDisk` is taken for its own.
    """
    disks = () if devices is None else devices.iterfind("disk")
    return any(is_disk_name(_aliased(disk)) for disk in disks if disk.get("device") != "floppy")


def _aliased(disk: Element) -> str:
    alias = disk.find("alias")
    text = "" if alias is None else alias.get("name", "")
    return text.removeprefix(_ALIAS) if text.startswith(_ALIAS) else ""


def _limits(limits: DiskLimits | None) -> list[Element]:
    if limits is None:
        return []
    values = dataclasses.asdict(limits).items()
    return [E.iotune(*(E(name, str(value)) for name, value in values if value))]


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the first device name that is free and begins as *name* does, ``vdc`` for example."""
    names = (name[:2] + _letters(index) for index in itertools.count())
    return next(free for free in names if free not in taken)


def _letters(index: int) -> str:
    """Return the letters of the disk with that index: a to z, then aa, ab and so on."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = string.ascii_lowercase[letter] + letters
    return letters
