# SPDX-License-Identifier: Apache-2.0
"""Where devices are attached, when libvirt would not choose it as the machine needs it.

Source: libvirt, "Domain XML format", "Device Addresses".
"""

from __future__ import annotations

from compute_driver.xml.elements import E, Element

#: Devices that hang on the machine itself when they are virtio.
_VIRTIO = (
    "disk/target[@bus='virtio']/..",
    "interface/model[@type='virtio']/..",
    "controller[@type='virtio-serial']",
    "input[@bus='virtio']",
    "memballoon[@model='virtio']",
    "rng[@model='virtio']",
)


def map_into_memory(domain: Element) -> None:
    """Give every virtio device of a domain an address in memory: libvirt would look for PCI."""
    for path in _VIRTIO:
        for device in domain.iterfind(f"devices/{path}"):
            device.append(E.address(type="virtio-mmio"))
