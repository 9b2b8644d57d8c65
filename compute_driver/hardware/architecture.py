# SPDX-License-Identifier: Apache-2.0
"""The facts of all guest architectures and their machines, in one table.

Sources: libvirt "Domain XML format", QEMU "System Emulator Targets", and what booted in the
project's own tests.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import platform
from typing import TypeVar

from compute_driver import exceptions
from compute_driver.choices import (
    Choice,
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogModel,
)
from compute_driver.guest import Guest

_C = TypeVar("_C", bound=Choice)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts of one family of QEMU's machine types; the first of several choices is the default.

    :param name: the family's newest member, which QEMU gives for this name.
    :param names: patterns of all members' names.
    :param firmwares: firmware that starts a boot loader; empty if a guest must give a kernel.
    :param secure_boot: whether the machine has firmware that starts signed boot loaders only.
    :param acpi: whether the machine has ACPI without UEFI.
    :param apic: whether the machine has an APIC.
    :param max_vcpus: the highest number of virtual CPUs, where libvirt's number is too high; 0 if
        libvirt's number is right.
    :param gic: whether the machine has a GIC; version 2 of the GIC serves at most eight virtual
        CPUs.
    :param express: whether the root bus is PCI Express.
    :param pci: whether the machine has a PCI bus.
    :param mmio: whether virtio devices are in memory, because the machine has no other bus.
    :param virtios: the forms in which virtio devices speak.
    :param consoles: the devices that the first serial console hangs on.
    :param buses: disk buses.
    :param cdrom_bus: bus of the CD-ROM drive of an installer.
    :param nics: network cards.
    :param videos: display adapters.
    :param inputs: keyboards and pointers.
    :param usb_screen: whether libvirt adds a USB keyboard and mouse if the host serves the screen.
    :param scsis: SCSI controllers that the machine's firmware boots from.
    :param usbs: USB controllers.
    :param sounds: sound cards.
    :param watchdogs: watchdogs.
    :param serial_ports: the highest number of serial ports.
    :param boot_menu: whether the machine's firmware has a menu of boot devices.
    :param hpet: whether the machine has an HPET, beside the other clocks of a PC.
    :param nmi: whether the machine has non-maskable interrupts.
    """

    name: str
    names: tuple[str, ...]
    firmwares: tuple[Firmware, ...] = (Firmware.BIOS,)
    secure_boot: bool = False
    acpi: bool = False
    apic: bool = False
    max_vcpus: int = 0
    gic: bool = False
    express: bool = False
    pci: bool = True
    mmio: bool = False
    virtios: tuple[VirtioForm, ...] = tuple(VirtioForm)
    consoles: tuple[ConsoleModel, ...] = (ConsoleModel.SERIAL, ConsoleModel.VIRTIO)
    buses: tuple[DiskBus, ...] = (DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.USB)
    cdrom_bus: DiskBus = DiskBus.SCSI
    nics: tuple[NicModel, ...] = (NicModel.VIRTIO, NicModel.E1000, NicModel.RTL8139)
    videos: tuple[VideoModel, ...] = (VideoModel.VIRTIO, VideoModel.NONE)
    inputs: tuple[InputModel, ...] = (InputModel.VIRTIO, InputModel.USB, InputModel.NONE)
    usb_screen: bool = False
    scsis: tuple[ScsiModel, ...] = (ScsiModel.VIRTIO,)
    usbs: tuple[UsbModel, ...] = tuple(UsbModel)
    sounds: tuple[SoundModel, ...] = (
        SoundModel.ICH9,
        SoundModel.ICH6,
        SoundModel.AC97,
        SoundModel.ES1370,
        SoundModel.USB,
    )
    watchdogs: tuple[WatchdogModel, ...] = (WatchdogModel.I6300ESB,)
    serial_ports: int = 1
    boot_menu: bool = True
    hpet: bool = False
    nmi: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The facts of one guest architecture.

    :param name: canonical name, as libvirt writes it.
    :param machines: families of machine types, the default first.
    :param kvm_hosts: host architectures whose KVM runs guests of this architecture.
    :param emulator: name of the QEMU program.
    :param package: Debian package of the QEMU program.
    :param firmware_package: Debian package of UEFI firmware.
    :param firmware_mib: memory in which the emulator keeps UEFI firmware, in MiB.
    :param emulated_cpu: the CPU model under TCG; empty for QEMU's own choice.
    :param emulated_cpu_modes: libvirt's CPU modes under TCG, the mode with most features first.
    :param lenient_features: whether TCG leaves out missing features of a CPU model, with a warning.
    :param threads: whether a core can have several threads.
    :param emulated_threads: whether a core can have several threads under TCG.
    :param kvm_cpu_modes: libvirt's CPU modes under KVM, the default first.
    :param signed: whether a processor tells the guest which hypervisor runs it.
    :param hyperv: whether KVM has Hyper-V's interfaces for such guests.
    :param pmu: whether a processor can have a performance monitoring unit.
    :param emulated_pmu: whether a processor can have one under TCG.
    """

    name: str
    machines: tuple[Machine, ...]
    kvm_hosts: frozenset[str]
    emulator: str
    package: str
    firmware_package: str = ""
    firmware_mib: int = 4
    emulated_cpu: str = ""
    emulated_cpu_modes: tuple[str, ...] = ("maximum",)
    lenient_features: bool = False
    threads: bool = True
    emulated_threads: bool = True
    kvm_cpu_modes: tuple[str, ...] = ("host-model", "host-passthrough")
    signed: bool = False
    hyperv: bool = False
    pmu: bool = False
    emulated_pmu: bool = False

    @property
    def machine(self) -> str:
        """Name of the machine type used when none is asked for."""
        return self.machines[0].name


_PC = Machine(
    name="pc",
    names=("pc", "pc-i440fx-*"),
    acpi=True,
    apic=True,
    # More virtual CPUs need an IOMMU, which guests do not have.
    max_vcpus=255,
    buses=(DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.IDE, DiskBus.USB),
    # Systems that need this machine may know IDE and not AHCI.
    cdrom_bus=DiskBus.IDE,
    nics=tuple(NicModel),
    videos=(
        VideoModel.VIRTIO,
        VideoModel.VGA,
        VideoModel.CIRRUS,
        VideoModel.QXL,
        VideoModel.BOCHS,
        VideoModel.NONE,
    ),
    inputs=(InputModel.VIRTIO, InputModel.USB, InputModel.PS2),
    scsis=tuple(model for model in ScsiModel if model is not ScsiModel.IBMVSCSI),
    sounds=tuple(SoundModel),
    serial_ports=4,
    hpet=True,
    nmi=True,
)
_Q35 = dataclasses.replace(
    _PC,
    name="q35",
    names=("q35", "pc-q35-*"),
    express=True,
    buses=(DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.USB),
    cdrom_bus=DiskBus.SATA,
)
_MICROVM = Machine(
    name="microvm",
    names=("microvm",),
    acpi=True,
    apic=True,
    max_vcpus=255,
    pci=False,
    mmio=True,
    firmwares=(),
    virtios=(VirtioForm.VIRTIO,),
    buses=(DiskBus.VIRTIO,),
    cdrom_bus=DiskBus.VIRTIO,
    nics=(NicModel.VIRTIO,),
    videos=(VideoModel.NONE,),
    inputs=(InputModel.NONE,),
    usbs=(UsbModel.NONE,),
    sounds=(),
    watchdogs=(),
    boot_menu=False,
    nmi=True,
)
_BIOS_OR_UEFI = (Firmware.BIOS, Firmware.UEFI)
_VIRT = Machine(name="virt", names=("virt", "virt-*"), firmwares=(Firmware.UEFI,), express=True)
_ARM_VIRT = dataclasses.replace(_VIRT, gic=True)

TABLE: dict[str, Architecture] = {
    a.name: a
    for a in (
        Architecture(
            name="x86_64",
            machines=(
                dataclasses.replace(_Q35, firmwares=_BIOS_OR_UEFI, secure_boot=True),
                dataclasses.replace(_PC, firmwares=_BIOS_OR_UEFI),
                _MICROVM,
            ),
            kvm_hosts=frozenset({"x86_64"}),
            emulator="qemu-system-x86_64",
            package="qemu-system-x86",
            firmware_package="ovmf",
            # The model of level x86-64-v2, which distributions ask for, that costs least.
            emulated_cpu="Nehalem",
            emulated_cpu_modes=("maximum", "host-model"),
            lenient_features=True,
            signed=True,
            hyperv=True,
            pmu=True,
        ),
        Architecture(
            name="i686",
            machines=(_Q35, _PC, _MICROVM),
            kvm_hosts=frozenset({"x86_64", "i686"}),
            emulator="qemu-system-i386",
            package="qemu-system-x86",
            emulated_cpu="qemu32",
            emulated_cpu_modes=("maximum", "host-model"),
            lenient_features=True,
            signed=True,
            hyperv=True,
            pmu=True,
        ),
        Architecture(
            name="aarch64",
            machines=(_ARM_VIRT,),
            kvm_hosts=frozenset({"aarch64"}),
            emulator="qemu-system-aarch64",
            package="qemu-system-arm",
            firmware_package="qemu-efi-aarch64",
            firmware_mib=128,
            # QEMU's default for this machine is a 32-bit processor.
            emulated_cpu="cortex-a57",
            # libvirt has no host-model for ARM and RISC-V processors.
            kvm_cpu_modes=("host-passthrough",),
            pmu=True,
            emulated_pmu=True,
        ),
        Architecture(
            name="armv7l",
            # libvirt 9.0 cannot choose a GIC of this emulator; QEMU's own choice is version 2.
            machines=(dataclasses.replace(_VIRT, max_vcpus=8),),
            # Few 64-bit processors still run a 32-bit kernel under KVM.
            kvm_hosts=frozenset(),
            emulator="qemu-system-arm",
            package="qemu-system-arm",
            firmware_package="qemu-efi-arm",
            firmware_mib=128,
            emulated_cpu="cortex-a15",
            kvm_cpu_modes=(),
            pmu=True,
            emulated_pmu=True,
        ),
        Architecture(
            name="ppc64le",
            machines=(
                Machine(
                    name="pseries",
                    names=("pseries", "pseries-*"),
                    videos=(VideoModel.VGA, VideoModel.VIRTIO, VideoModel.NONE),
                    usb_screen=True,
                    scsis=(ScsiModel.VIRTIO, ScsiModel.IBMVSCSI),
                    nmi=True,
                ),
            ),
            kvm_hosts=frozenset({"ppc64le"}),
            emulator="qemu-system-ppc64",
            package="qemu-system-ppc",
            emulated_cpu="POWER9",
            emulated_cpu_modes=(),
            emulated_threads=False,
        ),
        Architecture(
            name="s390x",
            machines=(
                Machine(
                    name="s390-ccw-virtio",
                    names=("s390-ccw-virtio", "s390-ccw-virtio-*"),
                    pci=False,
                    virtios=(VirtioForm.VIRTIO,),
                    consoles=(ConsoleModel.SCLP, ConsoleModel.VIRTIO),
                    buses=(DiskBus.VIRTIO, DiskBus.SCSI),
                    nics=(NicModel.VIRTIO,),
                    inputs=(InputModel.VIRTIO, InputModel.NONE),
                    usbs=(UsbModel.NONE,),
                    sounds=(),
                    watchdogs=(WatchdogModel.DIAG288,),
                    nmi=True,
                ),
            ),
            kvm_hosts=frozenset({"s390x"}),
            threads=False,
            emulator="qemu-system-s390x",
            package="qemu-system-misc",
        ),
        Architecture(
            name="riscv64",
            machines=(_VIRT,),
            kvm_hosts=frozenset({"riscv64"}),
            emulator="qemu-system-riscv64",
            package="qemu-system-misc",
            firmware_package="qemu-efi-riscv64",
            firmware_mib=128,
            emulated_cpu_modes=(),
            kvm_cpu_modes=("host-passthrough",),
        ),
    )
}

#: Other spellings, by uname, Debian, Glance and QEMU.
_ALIASES = {
    "amd64": "x86_64",
    "x86-64": "x86_64",
    "i386": "i686",
    "i486": "i686",
    "i586": "i686",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "armv7": "armv7l",
    "arm": "armv7l",
    "armv8l": "armv7l",
    "ppc64el": "ppc64le",
}


def get(name: str, field: str = "architecture") -> Architecture:
    """Return the facts of the architecture *name*, in any common spelling.

    :param field: the parameter's name, for the error.
    :raises InvalidParameter: if the table lacks the architecture; names all architectures.
    """
    try:
        return TABLE[_canonical(name)]
    except KeyError:
        raise exceptions.InvalidParameter(field, name, TABLE) from None


def of_host() -> str:
    """Return the canonical name of the host's architecture, which the table may lack."""
    return _canonical(platform.machine())


def _canonical(name: str) -> str:
    lowered = name.lower()
    return _ALIASES.get(lowered, lowered)


def machine_type(guest: Guest) -> str:
    """Return the name of the guest's machine type."""
    return guest.machine or get(guest.architecture).machine


def machine(guest: Guest) -> Machine:
    """Return the facts of the guest's family of machine types.

    :raises InvalidParameter: if no family has the guest's machine type; names all families of the
        guest's architecture.
    """
    facts, wanted = get(guest.architecture), machine_type(guest)
    for family in facts.machines:
        if any(fnmatch.fnmatchcase(wanted, pattern) for pattern in family.names):
            return family
    known = [pattern for family in facts.machines for pattern in family.names]
    raise exceptions.InvalidParameter("machine", wanted, known)


def choose(field: str, wanted: _C | None, offered: tuple[_C, ...]) -> _C:
    """Return the wanted choice or, without a wish, the first choice that is offered.

    :param field: the parameter's name, for the error.
    :raises InvalidParameter: if *wanted* is not offered; names all choices that are offered.
    """
    return offered[0] if wanted is None else demand(field, wanted, offered)


def demand(field: str, wanted: _C, offered: tuple[_C, ...]) -> _C:
    """Return the wanted choice; parameters and errors as for :func:`choose`."""
    if wanted not in offered:
        accepted = [str(choice) for choice in offered] or "nothing: this machine has none"
        raise exceptions.InvalidParameter(field, str(wanted), accepted)
    return wanted


def has_uefi(guest: Guest) -> bool:
    """Tell whether UEFI starts the guest.

    :raises InvalidParameter: if the guest's machine lacks the firmware that the guest asks for.
    """
    facts = machine(guest)
    if guest.secure_boot and not facts.secure_boot:
        raise exceptions.InvalidParameter(
            "secure_boot", guest.secure_boot, f"off: machine {facts.name} has no such firmware"
        )
    if guest.kernel is not None:
        return False
    if not facts.firmwares:
        raise exceptions.InvalidParameter(
            "kernel", None, f"a kernel: machine {facts.name} boots from nothing else"
        )
    return choose("firmware", guest.firmware, facts.firmwares) is Firmware.UEFI
