# SPDX-License-Identifier: Apache-2.0
"""What each guest architecture and its machines need, in one table.

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
    """The facts of one family of QEMU's machine types; of several choices, the default is first.

    :param name: the family's newest member, which QEMU gives for this name.
    :param names: patterns of all members' names.
    :param firmwares: what starts a boot loader; empty if a kernel must be given.
    :param secure_boot: whether there is firmware that starts signed boot loaders only.
    :param acpi: whether there is ACPI without UEFI.
    :param apic: whether there is an APIC.
    :param max_vcpus: how many processors there can be, where libvirt says more; 0 if it is right.
    :param gic: whether there is a GIC, of which version 2 serves no more than eight processors.
    :param express: whether the root bus is PCI Express.
    :param pci: whether there is a PCI bus.
    :param mmio: whether virtio devices are mapped into memory, for want of it.
    :param virtios: how virtio devices can speak.
    :param consoles: what the first serial console can hang on.
    :param buses: disk buses.
    :param cdrom_bus: bus for the CD-ROM drive of an installer.
    :param nics: network cards.
    :param videos: display adapters.
    :param inputs: keyboards and pointers.
    :param usb_screen: whether libvirt adds a USB keyboard and mouse once the screen is served.
    :param scsis: SCSI controllers; of those that are there, the ones its firmware boots from.
    :param usbs: USB controllers.
    :param sounds: sound cards.
    :param watchdogs: watchdogs.
    :param serial_ports: how many serial ports there can be.
    :param boot_menu: whether its firmware can offer a choice of what to boot from.
    :param hpet: whether there is an HPET, beside the other clocks of a PC.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The facts of one guest architecture.

    :param name: canonical name, as libvirt writes it.
    :param machines: families of machine types, the default first.
    :param kvm_hosts: host architectures whose KVM can run such guests.
    :param emulator: name of the QEMU program.
    :param package: Debian package that has it.
    :param firmware_package: Debian package of UEFI firmware.
    :param firmware_mib: what the emulator keeps of it in memory, in MiB.
    :param emulated_cpu: the CPU model under TCG; None is QEMU's own choice.
    :param emulated_cpu_modes: libvirt's CPU modes under TCG, the one with most features first.
    :param lenient_features: whether TCG leaves out what it lacks of a CPU model, with a warning.
    :param threads: whether its cores can have several threads.
    :param emulated_threads: whether they can under TCG.
    :param kvm_cpu_modes: libvirt's CPU modes under KVM, the default first.
    :param signed: whether its processors tell by which hypervisor they are run.
    :param hyperv: whether KVM can speak like Hyper-V to them.
    :param pmu: whether they can have a performance monitoring unit.
    :param emulated_pmu: whether they can under TCG.
    """

    name: str
    machines: tuple[Machine, ...]
    kvm_hosts: frozenset[str]
    emulator: str
    package: str
    firmware_package: str = ""
    firmware_mib: int = 4
    emulated_cpu: str | None = None
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
    # More take an IOMMU, which guests are not given.
    max_vcpus=255,
    buses=(DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.IDE, DiskBus.USB),
    # The systems that need this machine are those that may know IDE and not AHCI.
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
            # The cheapest to emulate of the level x86-64-v2, which distributions ask for.
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
            # libvirt 9.0 finds no GIC to choose in this emulator; QEMU's own choice is version 2.
            machines=(dataclasses.replace(_VIRT, max_vcpus=8),),
            # Few 64-bit processors still run a 32-bit kernel; they are left aside.
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
    """Return the facts of the architecture with that name, in any common spelling.

    :param field: what its user calls it, for the error.
    :raises InvalidParameter: if it is not supported; names those that are.
    """
    try:
        return TABLE[_canonical(name)]
    except KeyError:
        raise exceptions.InvalidParameter(field, name, TABLE) from None


def of_host() -> str:
    """Return the canonical name of this machine's architecture; guests may not have it."""
    return _canonical(platform.machine())


def _canonical(name: str) -> str:
    lowered = name.lower()
    return _ALIASES.get(lowered, lowered)


def machine(guest: Guest) -> Machine:
    """Return the facts of the guest's machine.

    :raises InvalidParameter: if it is of no known family; names those that its architecture has.
    """
    facts = get(guest.architecture)
    wanted = guest.machine or facts.machine
    for family in facts.machines:
        if any(fnmatch.fnmatchcase(wanted, pattern) for pattern in family.names):
            return family
    known = [pattern for family in facts.machines for pattern in family.names]
    raise exceptions.InvalidParameter("machine", wanted, known)


def choose(field: str, wanted: _C | None, offered: tuple[_C, ...]) -> _C:
    """Return what is wanted or, if it is None, the first of what is offered.

    :param field: the parameter's name, for the error.
    :raises InvalidParameter: if what is wanted is not offered; names all that is.
    """
    return offered[0] if wanted is None else demand(field, wanted, offered)


def demand(field: str, wanted: _C, offered: tuple[_C, ...]) -> _C:
    """Return what is wanted, if it is offered; parameters and errors as for :func:`choose`."""
    if wanted not in offered:
        accepted = [str(each) for each in offered] or "nothing: this machine has none"
        raise exceptions.InvalidParameter(field, str(wanted), accepted)
    return wanted


def has_uefi(guest: Guest) -> bool:
    """Tell whether UEFI starts the guest.

    :raises InvalidParameter: if its machine does not have the firmware that it asks for.
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
