# SPDX-License-Identifier: Apache-2.0
"""The settings that all virtio devices of a guest share.

Source: libvirt, "Domain XML format", "Virtio-related options".
"""

from __future__ import annotations

from compute_driver.xml.elements import E, Element

#: Devices with queues, in all forms of virtio.
_DEVICES = (
    "disk/target[@bus='virtio']/..",
    "controller[@type='virtio-serial']",
    "controller[@model='virtio-scsi']",
    "controller[@model='virtio-transitional']",
    "controller[@model='virtio-non-transitional']",
    "input[@bus='virtio']",
    "video/model[@type='virtio']/..",
    *(
        f"{path}='{model}']{up}"
        for path, up in (
            ("memballoon[@model", ""),
            ("rng[@model", ""),
            ("interface/model[@type", "/.."),
        )
        for model in ("virtio", "virtio-transitional", "virtio-non-transitional")
    ),
)


def pack(domain: Element) -> None:
    """Let every virtio device of a domain offer its queues in their packed form."""
    devices = (device for path in _DEVICES for device in domain.iterfind(f"devices/{path}"))
    for device in dict.fromkeys(devices):
        driver = device.find("driver")
        if driver is None:
            driver = E.driver()
            device.append(driver)
        driver.set("packed", "on")
