# SPDX-License-Identifier: Apache-2.0
"""What all virtio devices of a guest share.

Source: libvirt, "Domain XML format", "Virtio-related options".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.hardware.architecture import Machine
from compute_driver.xml.elements import E, Element

#: Devices with queues, in all forms that virtio has.
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


def pack(domain: Element, machine: Machine) -> None:
    """Let every virtio device of a domain offer its queues in their packed form.

    :raises InvalidParameter: if the machine's devices speak virtio as it was before there was one.
    """
    if machine.mmio:
        accepted = f"off: devices of machine {machine.name} have none"
        raise exceptions.InvalidParameter("packed_ring", True, accepted)
    found = {each: None for path in _DEVICES for each in domain.iterfind(f"devices/{path}")}
    for device in found:
        driver = device.find("driver")
        if driver is None:
            driver = E.driver()
            device.append(driver)
        driver.set("packed", "on")
