# SPDX-License-Identifier: Apache-2.0
"""What starts the guest: machine, firmware, or a kernel given directly.

Source: libvirt, "Domain XML format", "Operating system booting" and "Hypervisor features".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.acceleration import Accelerator
from compute_driver.architecture import Architecture
from compute_driver.guest import Guest
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element


def os(guest: Guest, layout: Layout, facts: Architecture) -> Element:
    """Return ``<os>``; which disk is booted from is said by each disk's own ``<boot>``.

    :raises InvalidParameter: if the architecture does not have the guest's firmware.
    """
    _check_firmware(guest, facts)
    element = E.os(E.type("hvm", arch=facts.name, machine=guest.machine or facts.machine))
    if layout.nvram is not None:
        # libvirt picks loader and template by the firmware descriptors that the host has; left
        # to itself it prefers Secure Boot, which refuses most images and needs SMM.
        element.set("firmware", "efi")
        element.append(E.firmware(E.feature(enabled="no", name="secure-boot")))
        element.append(E.nvram(str(layout.nvram)))
    if layout.kernel is not None:
        element.append(E.kernel(str(layout.kernel)))
    if layout.ramdisk is not None:
        element.append(E.initrd(str(layout.ramdisk)))
    if guest.boot is not None and guest.boot.cmdline:
        element.append(E.cmdline(guest.boot.cmdline))
    return element


def features(
    layout: Layout, facts: Architecture, accelerator: Accelerator, translation_buffer_mib: int
) -> list[Element]:
    """Return ``<features>``, or nothing for machines that know none of them.

    :param translation_buffer_mib: how much translated code an emulated guest keeps, in MiB; 0
        leaves it to QEMU.
    """
    # Where the machine's own start-up code brings no ACPI tables, UEFI does.
    acpi = facts.acpi or layout.nvram is not None
    present = [E.acpi()] * acpi + [E.apic()] * facts.apic
    if accelerator is Accelerator.TCG and translation_buffer_mib:
        present.append(E.tcg(E("tb-cache", str(translation_buffer_mib), unit="MiB")))
    return [E.features(*present)] if present else []


def _check_firmware(guest: Guest, facts: Architecture) -> None:
    if guest.firmware is None or guest.boot is not None or guest.firmware in facts.firmwares:
        return
    raise exceptions.InvalidParameter(
        "firmware",
        str(guest.firmware),
        [str(firmware) for firmware in facts.firmwares]
        or f"none: {facts.name} machines have one of their own",
    )
