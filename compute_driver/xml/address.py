# SPDX-License-Identifier: Apache-2.0
"""The addresses of devices: the addresses that the domain gives, and those that libvirt gives.

Source: libvirt, "Domain XML format", "Device Addresses".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compute_driver.hardware.description import Addresses
from compute_driver.info import Device
from compute_driver.xml import virtio
from compute_driver.xml.elements import E, Element

#: Devices that stay with the guest; for cards of plain PCI, libvirt adds bridges by itself.
_FIXED = (
    *virtio.FIXED,
    "watchdog[@model='i6300esb']",
    *(f"controller[@model='{model}']" for model in ("lsilogic", "lsisas1068", "lsisas1078")),
    *(f"sound[@model='{model}']" for model in ("ac97", "es1370", "ich6", "ich9", "virtio")),
)

#: Devices that can be unplugged: libvirt puts each behind a port of its own.
_BEHIND_PORTS = (
    virtio.CARD,
    *(f"interface/model[@type='{model}']/.." for model in ("e1000e", "igb")),
    "controller[@type='scsi']",
    "controller[@model='qemu-xhci']",
)
#: Free slots of the root bus; libvirt puts its ports into lower slots.
_SLOTS = range(0x08, 0x1C)

#: The parts of libvirt's addresses on PCI, and their formats.
_PCI = (("domain", "04x"), ("bus", "02x"), ("slot", "02x"))
_DRIVE = ("controller", "bus", "target", "unit")


def assign(domain: Element, addresses: Addresses, spare_ports: int) -> None:
    """Give the devices of a domain the addresses that libvirt does not give by itself.

    :param spare_ports: how many devices can be plugged in while the guest runs, on PCI Express.
    """
    if addresses is Addresses.MEMORY:
        _map_into_memory(domain)
    elif addresses is Addresses.ROOT_BUS:
        _integrate(domain)
        _add_ports(domain, spare_ports)


def _map_into_memory(domain: Element) -> None:
    """Give every virtio device an address in memory; libvirt by itself looks for a PCI bus."""
    for device in _devices(domain, (*virtio.FIXED, virtio.CARD)):
        device.append(E.address(type="virtio-mmio"))


def _integrate(domain: Element) -> None:
    """Put fixed devices on the root bus of PCI Express, as long as there are free slots.

    libvirt puts each device behind a port of its own, and each port delays the guest's boot.
    """
    for slot, device in zip(_SLOTS, _devices(domain, _FIXED), strict=False):
        place = {"domain": "0x0000", "bus": "0x00", "slot": f"0x{slot:02x}", "function": "0x0"}
        device.append(E.address({"type": "pci"}, place))


def _add_ports(domain: Element, spare: int) -> None:
    """Add the ports of PCI Express for the devices of a domain, and spare ports.

    libvirt makes one spare port, but none for a domain without a device that can be unplugged.
    For devices of plain PCI libvirt adds a bridge and another port.
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
    """Yield the places of a domain's disks and interfaces, as libvirt describes them."""
    for element in (*domain.iterfind("devices/disk"), *domain.iterfind("devices/interface")):
        target, mac = element.find("target"), element.find("mac")
        place = element.find("address")
        parts = {} if place is None else {str(k): str(v) for k, v in place.attrib.items()}
        if parts.get("type") == "pci":
            numbers = [format(int(parts[key], 16), width) for key, width in _PCI]
            address = f"{':'.join(numbers)}.{int(parts['function'], 16)}"
        elif parts.get("type") == "drive":
            address = ":".join(parts[key] for key in _DRIVE)
        else:
            address = ""
        bus = "" if target is None else target.get("bus", "")
        yield Device(
            name="" if target is None else target.get("dev", ""),
            mac=None if mac is None else mac.get("address", ""),
            bus="pci" if parts.get("type") == "pci" else bus,
            address=address,
        )


def _devices(domain: Element, paths: Iterable[str]) -> Iterator[Element]:
    for path in paths:
        yield from domain.iterfind(f"devices/{path}")
