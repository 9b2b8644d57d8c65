# SPDX-License-Identifier: Apache-2.0
"""The start of the guest: machine, firmware or kernel; and the features of the platform.

Source: libvirt, "Domain XML format", "Operating system booting" and "Hypervisor features".
"""

from __future__ import annotations

import dataclasses

from compute_driver.guest import Guest
from compute_driver.hardware.description import Features, Gic, Hardware, Switch
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import YES_NO, E, Element

#: Hyper-V's interfaces for Windows; QEMU, "Hyper-V Enlightenments".
_HYPERV = (
    *("relaxed", "vapic", "vpindex", "runtime", "synic", "reset"),
    *("frequencies", "tlbflush", "ipi"),
)
#: Tries of a lock before the guest notifies the hypervisor; Microsoft recommends this number.
_SPINLOCK_RETRIES = "8191"
#: Twelve characters that no known hypervisor uses as its signature.
_NOBODY = "0123456789ab"


def os(guest: Guest, hardware: Hardware, layout: Layout) -> Element:
    """Return ``<os>``; each disk's own ``<boot>`` says which disk starts."""
    boot = hardware.boot
    element = E.os(E.type("hvm", arch=guest.architecture, machine=hardware.machine))
    if layout.nvram is not None:
        # libvirt picks loader and template by the host's firmware descriptors; without a wish
        # libvirt prefers Secure Boot, which refuses most images and needs SMM.
        element.set("firmware", "efi")
        wanted = {"secure-boot": boot.secure_boot}
        if boot.secure_boot:
            wanted["enrolled-keys"] = True
        element.append(
            E.firmware(*(E.feature(enabled=YES_NO[on], name=name) for name, on in wanted.items()))
        )
        element.append(E.nvram(str(layout.nvram)))
    if layout.kernel is not None:
        element.append(E.kernel(str(layout.kernel)))
    if layout.ramdisk is not None:
        element.append(E.initrd(str(layout.ramdisk)))
    if guest.kernel is not None and guest.kernel.cmdline:
        element.append(E.cmdline(guest.kernel.cmdline))
    if boot.menu:
        element.append(E.bootmenu(enable="yes"))
    if hardware.identity:
        element.append(E.smbios(mode="sysinfo"))
    return element


def sysinfo(guest: Guest, hardware: Hardware) -> list[Element]:
    """Return ``<sysinfo>``: what SMBIOS tables tell; a text that is empty is left to QEMU."""
    return [
        E.sysinfo(
            {"type": "smbios"},
            E.system(
                *(
                    E.entry(text, name=name)
                    for name, text in {**dataclasses.asdict(identity), "uuid": guest.uuid}.items()
                    if text
                )
            ),
        )
        for identity in hardware.identity
    ]


def features(features: Features, translation_buffer_mib: int) -> list[Element]:
    """Return ``<features>``, or nothing for a platform without features.

    :param translation_buffer_mib: size of the buffer of translated code, in MiB; 0 leaves the
        size to QEMU.
    """
    present = [E.acpi()] * features.acpi + [E.apic()] * features.apic
    if features.hyperv:
        present.append(_hyperv(features))
    if features.hidden:
        present.append(E.kvm(E.hidden(state="on")))
    if features.pmu is not Switch.DEFAULT:
        present.append(E.pmu(state=str(features.pmu)))
    if features.gic is not Gic.NONE:
        present.append(E.gic(version=str(features.gic)))
    if features.smm:
        present.append(E.smm(state="on"))
    if translation_buffer_mib:
        present.append(E.tcg(E("tb-cache", str(translation_buffer_mib), unit="MiB")))
    return [E.features(*present)] if present else []


def _hyperv(features: Features) -> Element:
    element = E.hyperv(*(E(name, state="on") for name in _HYPERV))
    element.append(E.spinlocks(state="on", retries=_SPINLOCK_RETRIES))
    if features.hidden:
        element.append(E.vendor_id(state="on", value=_NOBODY))
    return element


def translation_buffer_mib(domain: Element) -> int:
    """Return the size of a domain's buffer of translated code, in MiB; 0 if QEMU decides."""
    # libvirt returns sizes in KiB.
    return int(domain.findtext("features/tcg/tb-cache", "0")) // 1024


def has_uefi(domain: Element) -> bool:
    """Tell whether UEFI starts the guest of a domain."""
    return domain.find("os/nvram") is not None
