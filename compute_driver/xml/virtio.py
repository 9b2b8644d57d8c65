# SPDX-License-Identifier: Apache-2.0
"""The settings that all virtio devices of a guest share.

Source: libvirt, "Domain XML format", "Virtio-related options".
"""

from __future__ import annotations

from compute_driver.choices import VirtioForm
from compute_driver.xml.elements import E, Element

#: Virtio devices that stay with the guest.
FIXED = (
    "disk/target[@bus='virtio']/..",
    "controller[@type='virtio-serial']",
    "input[@bus='virtio']",
    "memballoon[@model='virtio']",
    "rng[@model='virtio']",
)

#: Virtio cards.
CARD = "interface/model[@type='virtio']/.."

#: The forms of virtio with other interfaces, see :class:`compute_driver.choices.VirtioForm`.
_TRANSITIONAL = tuple(
    f"{path}='{model}']{up}"
    for path, up in (
        ("controller[@model", ""),
        ("memballoon[@model", ""),
        ("rng[@model", ""),
        ("interface/model[@type", "/.."),
    )
    for model in (VirtioForm.TRANSITIONAL, VirtioForm.NON_TRANSITIONAL)
)

_WITH_QUEUES = (
    *FIXED,
    CARD,
    *_TRANSITIONAL,
    "controller[@model='virtio-scsi']",
    "video/model[@type='virtio']/..",
)


def pack(domain: Element) -> None:
    """Let every virtio device of a domain offer its queues in their packed form."""
    devices = (device for path in _WITH_QUEUES for device in domain.iterfind(f"devices/{path}"))
    for device in dict.fromkeys(devices):
        driver = device.find("driver")
        if driver is None:
            driver = E.driver()
            device.append(driver)
        driver.set("packed", "on")
