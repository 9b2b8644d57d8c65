# SPDX-License-Identifier: Apache-2.0
"""What starts the guest: machine, firmware, or a kernel given directly.

Source: libvirt, "Domain XML format", "Operating system booting" and "Hypervisor features".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.choices import Accelerator, OsType
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import ON_OFF, YES_NO, E, Element

#: KVM has the host's; emulated, the one that serves any number of processors.
_GIC = {Accelerator.KVM: "host", Accelerator.TCG: "3"}

#: What makes Windows run well; QEMU, "Hyper-V Enlightenments".
_HYPERV = (
    *("relaxed", "vapic", "vpindex", "runtime", "synic", "reset"),
    *("frequencies", "tlbflush", "ipi"),
)
#: How often a lock is tried before the hypervisor is told; what Microsoft recommends.
_SPINLOCK_RETRIES = "8191"
#: Twelve characters that are no known hypervisor's.
_NOBODY = "0123456789ab"


def os(guest: Guest, layout: Layout, machine: Machine) -> Element:
    """Return ``<os>``; which disk is booted from is said by each disk's own ``<boot>``.

    :raises InvalidParameter: if a boot menu is wanted and the machine has none.
    """
    element = E.os(E.type("hvm", arch=guest.architecture, machine=guest.machine or machine.name))
    if layout.nvram is not None:
        # libvirt picks loader and template by the firmware descriptors that the host has; left
        # to itself it prefers Secure Boot, which refuses most images and needs SMM.
        element.set("firmware", "efi")
        wanted = {"secure-boot": guest.secure_boot}
        if guest.secure_boot:
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
    if guest.boot_menu:
        if not machine.boot_menu:
            accepted = f"off: machine {machine.name} has none"
            raise exceptions.InvalidParameter("boot_menu", True, accepted)
        element.append(E.bootmenu(enable="yes"))
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
    :raises InvalidParameter: if a performance monitoring unit is wanted that cannot be had.
    """
    # Where the machine's own start-up code brings no ACPI tables, UEFI does.
    acpi = machine.acpi or layout.nvram is not None
    present = [E.acpi()] * acpi + [E.apic()] * machine.apic
    present += _hypervisor(guest, accelerator) + _pmu(guest, accelerator)
    if machine.gic:
        present.append(E.gic(version=_GIC[accelerator]))
    if guest.secure_boot:
        # Firmware guards its variables from the system with it.
        present.append(E.smm(state="on"))
    if accelerator is Accelerator.TCG and translation_buffer_mib:
        present.append(E.tcg(E("tb-cache", str(translation_buffer_mib), unit="MiB")))
    return [E.features(*present)] if present else []


def _hypervisor(guest: Guest, accelerator: Accelerator) -> list[Element]:
    """Return how KVM presents itself: as Hyper-V to those who know that, or not at all."""
    if accelerator is not Accelerator.KVM:
        return []
    present = []
    if guest.os_type is OsType.WINDOWS and architecture.get(guest.architecture).hyperv:
        hyperv = E.hyperv(*(E(name, state="on") for name in _HYPERV))
        hyperv.append(E.spinlocks(state="on", retries=_SPINLOCK_RETRIES))
        if guest.hide_hypervisor:
            hyperv.append(E.vendor_id(state="on", value=_NOBODY))
        present.append(hyperv)
    if guest.hide_hypervisor:
        present.append(E.kvm(E.hidden(state="on")))
    return present


def _pmu(guest: Guest, accelerator: Accelerator) -> list[Element]:
    if guest.pmu is None:
        return []
    facts = architecture.get(guest.architecture)
    can_be = facts.pmu and (facts.emulated_pmu or accelerator is Accelerator.KVM)
    if can_be:
        return [E.pmu(state=ON_OFF[guest.pmu])]
    if guest.pmu:
        refusal = exceptions.NotOnThisHost if facts.pmu else exceptions.InvalidParameter
        raise refusal("pmu", True, f"off: {facts.name} under {accelerator} has none")
    return []


def translation_buffer_mib(domain: Element) -> int:
    """Return how much translated code the guest of a domain keeps, in MiB; 0 if QEMU decides."""
    # libvirt gives sizes back in KiB.
    return int(domain.findtext("features/tcg/tb-cache", "0")) // 1024


def has_uefi(domain: Element) -> bool:
    """Tell whether UEFI starts the guest of a domain."""
    return domain.find("os/nvram") is not None
