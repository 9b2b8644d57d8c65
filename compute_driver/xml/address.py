# SPDX-License-Identifier: Apache-2.0
"""Where devices are attached: as the machine needs it where libvirt would not, and in the end.

Source: libvirt, "Domain XML format", "Device Addresses".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compute_driver.info import Device
from compute_driver.xml.elements import E, Element

#: Virtio devices that are never unplugged.
_FIXED_VIRTIO = (
    "disk/target[@bus='virtio']/..",
    "controller[@type='virtio-serial']",
    "input[@bus='virtio']",
    "memballoon[@model='virtio']",
    "rng[@model='virtio']",
)
_VIRTIO = (*_FIXED_VIRTIO, "interface/model[@type='virtio']/..")

#: All that is never unplugged; for cards of plain PCI, libvirt would add bridges besides.
_FIXED = (
    *_FIXED_VIRTIO,
    "watchdog[@model='i6300esb']",
    *(f"controller[@model='{model}']" for model in ("lsilogic", "lsisas1068", "lsisas1078")),
    *(f"sound[@model='{model}']" for model in ("ac97", "es1370", "ich6", "ich9")),
)

#: What libvirt puts behind a port of its own each, because it could be unplugged.
_BEHIND_PORTS = (
    *(f"interface/model[@type='{model}']/.." for model in ("virtio", "e1000e")),
    "controller[@type='scsi']",
    "controller[@model='qemu-xhci']",
)
#: Those of the root bus that machines leave free, but for the lowest: there libvirt puts its ports.
_SLOTS = range(0x08, 0x1C)

#: What libvirt's addresses on PCI consist of, and how they are written.
_PCI = (("domain", "04x"), ("bus", "02x"), ("slot", "02x"))
_DRIVE = ("controller", "bus", "target", "unit")


def map_into_memory(domain: Element) -> None:
    """Give every virtio device of a domain an address in memory: libvirt would look for PCI."""
    for device in _devices(domain, _VIRTIO):
        device.append(E.address(type="virtio-mmio"))


def integrate(domain: Element) -> None:
    """Put what is never unplugged on the root bus of PCI Express, as long as there are slots.

    libvirt would put each behind a port of its own, and each port delays the guest's boot.
    """
    for slot, device in zip(_SLOTS, _devices(domain, _FIXED), strict=False):
        place = {"domain": "0x0000", "bus": "0x00", "slot": f"0x{slot:02x}", "function": "0x0"}
        device.append(E.address({"type": "pci"}, place))


def add_ports(domain: Element, spare: int) -> None:
    """Add the ports of PCI Express that a domain needs, and some for devices that come later.

    libvirt makes one that is spare, but none where there is nothing that could be unplugged.  For
    devices of plain PCI it adds a bridge, and another port, by itself.

    :param spare: how many devices can be plugged in while the guest runs.
    """
    needed = sum(1 for _ in _devices(domain, _BEHIND_PORTS))
    if needed + spare == 0 or (needed and spare == 1):
        return
    ports = [E.controller(type="pci", model="pcie-root-port") for _ in range(needed + spare)]
    emulator = domain.find("devices/emulator")
    assert emulator is not None
    for element in (*ports, E.controller(type="pci", index="0", model="pcie-root")):
        emulator.addnext(element)


def attached(domain: Element) -> Iterator[Device]:
    """Yield where the disks and interfaces of a domain are attached, as libvirt describes it."""
    for element in (*domain.iterfind("devices/disk"), *domain.iterfind("devices/interface")):
        target, mac = element.find("target"), element.find("mac")
        place = element.find("address")
        said = {} if place is None else {str(k): str(v) for k, v in place.attrib.items()}
        if said.get("type") == "pci":
            numbers = [format(int(said[key], 16), width) for key, width in _PCI]
            address = f"{':'.join(numbers)}.{int(said['function'], 16)}"
        elif said.get("type") == "drive":
            address = ":".join(said[key] for key in _DRIVE)
        else:
            address = ""
        bus = "" if target is None else target.get("bus", "")
        yield Device(
            name="" if target is None else target.get("dev", ""),
            mac=None if mac is None else mac.get("address", ""),
            bus="pci" if said.get("type") == "pci" else bus,
            address=address,
        )


def _devices(domain: Element, paths: Iterable[str]) -> Iterator[Element]:
    for path in paths:
        yield from domain.iterfind(f"devices/{path}")
