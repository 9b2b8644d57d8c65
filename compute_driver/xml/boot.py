# SPDX-License-Identifier: Apache-2.0
"""What starts the guest: machine, firmware, or a kernel given directly.

Source: libvirt, "Domain XML format", "Operating system booting" and "Hypervisor features".
"""

from __future__ import annotations

from compute_driver.acceleration import Accelerator
from compute_driver.architecture import Machine
from compute_driver.guest import Guest
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element

#: KVM has the host's; emulated, the one that serves any number of processors.
_GIC = {Accelerator.KVM: "host", Accelerator.TCG: "3"}
_YES_NO = {True: "yes", False: "no"}


def os(guest: Guest, layout: Layout, machine: Machine) -> Element:
    """Return ``<os>``; which disk is booted from is said by each disk's own ``<boot>``."""
    element = E.os(E.type("hvm", arch=guest.architecture, machine=guest.machine or machine.name))
    if layout.nvram is not None:
        # libvirt picks loader and template by the firmware descriptors that the host has; left
        # to itself it prefers Secure Boot, which refuses most images and needs SMM.
        element.set("firmware", "efi")
        wanted = {"secure-boot": guest.secure_boot}
        if guest.secure_boot:
            wanted["enrolled-keys"] = True
        element.append(
            E.firmware(*(E.feature(enabled=_YES_NO[on], name=name) for name, on in wanted.items()))
        )
        element.append(E.nvram(str(layout.nvram)))
    if layout.kernel is not None:
        element.append(E.kernel(str(layout.kernel)))
    if layout.ramdisk is not None:
        element.append(E.initrd(str(layout.ramdisk)))
    if guest.kernel is not None and guest.kernel.cmdline:
        element.append(E.cmdline(guest.kernel.cmdline))
    return element


def features(
    guest: Guest,
    layout: Layout,
    machine: Machine,
    accelerator: Accelerator,
    translation_buffer_mib: int,
) -> list[Element]:
    """Return ``<features>``, or nothing for machines that know none of them.

    :param translation_buffer_mib: how much translated code an emulated guest keeps, in MiB; 0
        leaves it to QEMU.
    """
    # Where the machine's own start-up code brings no ACPI tables, UEFI does.
    acpi = machine.acpi or layout.nvram is not None
    present = [E.acpi()] * acpi + [E.apic()] * machine.apic
    if machine.gic:
        present.append(E.gic(version=_GIC[accelerator]))
    if guest.secure_boot:
        # Firmware guards its variables from the system with it.
        present.append(E.smm(state="on"))
    if accelerator is Accelerator.TCG and translation_buffer_mib:
        present.append(E.tcg(E("tb-cache", str(translation_buffer_mib), unit="MiB")))
    return [E.features(*present)] if present else []


def translation_buffer_mib(domain: Element) -> int:
    """Return how much translated code the guest of a domain keeps, in MiB; 0 if QEMU decides."""
    # libvirt gives sizes back in KiB.
    return int(domain.findtext("features/tcg/tb-cache", "0")) // 1024


def has_uefi(domain: Element) -> bool:
    """Tell whether UEFI starts the guest of a domain."""
    return domain.find("os/nvram") is not None
