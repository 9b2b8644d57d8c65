# SPDX-License-Identifier: Apache-2.0
"""What each guest architecture needs, in one table.

Sources: libvirt "Domain XML format", QEMU "System Emulator Targets", and what booted in the
project's own tests.
"""

from __future__ import annotations

import dataclasses
import platform

from compute_driver import exceptions
from compute_driver.guest import DiskBus, Firmware, NicModel, VideoModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The facts of one guest architecture.

    :param name: canonical name, as libvirt writes it.
    :param machine: QEMU machine type used when none is asked for.
    :param kvm_hosts: host architectures whose KVM can run such guests.
    :param emulator: name of the QEMU program.
    :param package: Debian package that has it.
    :param console: how the first serial console is attached: ``serial`` or ``sclp``.
    :param emulated_cpu: CPU model under TCG; None lets QEMU choose.
    :param accelerated_cpu: CPU mode under KVM; None lets libvirt choose.
    :param firmwares: supported ways to boot from a disk, the default first; empty where the
        machine has one of its own.
    :param acpi: whether the machine has ACPI without UEFI.
    :param apic: whether the machine has an APIC.
    :param cdrom_bus: bus for CD-ROM drives.
    :param buses: disk buses its machines have, the default first.
    :param nics: network cards its machines take, the default first.
    :param videos: display adapters its machines take, the default first.
    """

    name: str
    machine: str
    kvm_hosts: frozenset[str]
    emulator: str
    package: str
    console: str = "serial"
    emulated_cpu: str | None = None
    accelerated_cpu: str | None = "host-model"
    firmwares: tuple[Firmware, ...] = ()
    acpi: bool = False
    apic: bool = False
    cdrom_bus: DiskBus = DiskBus.SCSI
    buses: tuple[DiskBus, ...] = (DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.USB)
    nics: tuple[NicModel, ...] = (NicModel.VIRTIO, NicModel.E1000, NicModel.RTL8139)
    videos: tuple[VideoModel, ...] = (VideoModel.VIRTIO, VideoModel.NONE)


_X86_BUSES = (DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.IDE, DiskBus.USB)
_X86_VIDEOS = (
    VideoModel.VIRTIO,
    VideoModel.VGA,
    VideoModel.CIRRUS,
    VideoModel.QXL,
    VideoModel.BOCHS,
    VideoModel.NONE,
)

TABLE: dict[str, Architecture] = {
    a.name: a
    for a in (
        Architecture(
            name="x86_64",
            machine="q35",
            kvm_hosts=frozenset({"x86_64"}),
            emulator="qemu-system-x86_64",
            package="qemu-system-x86",
            firmwares=(Firmware.BIOS, Firmware.UEFI),
            acpi=True,
            apic=True,
            cdrom_bus=DiskBus.SATA,
            buses=_X86_BUSES,
            nics=tuple(NicModel),
            videos=_X86_VIDEOS,
        ),
        Architecture(
            name="i686",
            machine="q35",
            kvm_hosts=frozenset({"x86_64", "i686"}),
            emulator="qemu-system-i386",
            package="qemu-system-x86",
            firmwares=(Firmware.BIOS,),
            acpi=True,
            apic=True,
            cdrom_bus=DiskBus.SATA,
            buses=_X86_BUSES,
            nics=tuple(NicModel),
            videos=_X86_VIDEOS,
        ),
        Architecture(
            name="aarch64",
            machine="virt",
            kvm_hosts=frozenset({"aarch64"}),
            emulator="qemu-system-aarch64",
            package="qemu-system-arm",
            # QEMU's default for this machine is a 32-bit processor.
            emulated_cpu="cortex-a57",
            # libvirt has no host-model for ARM and RISC-V processors.
            accelerated_cpu="host-passthrough",
            firmwares=(Firmware.UEFI,),
        ),
        Architecture(
            name="armv7l",
            machine="virt",
            kvm_hosts=frozenset({"aarch64", "armv7l"}),
            emulator="qemu-system-arm",
            package="qemu-system-arm",
            emulated_cpu="cortex-a15",
            accelerated_cpu="host-passthrough",
        ),
        Architecture(
            name="ppc64le",
            machine="pseries",
            kvm_hosts=frozenset({"ppc64le"}),
            emulator="qemu-system-ppc64",
            package="qemu-system-ppc",
            emulated_cpu="POWER9",
            videos=(VideoModel.VGA, VideoModel.VIRTIO, VideoModel.NONE),
        ),
        Architecture(
            name="s390x",
            machine="s390-ccw-virtio",
            kvm_hosts=frozenset({"s390x"}),
            emulator="qemu-system-s390x",
            package="qemu-system-misc",
            console="sclp",
            buses=(DiskBus.VIRTIO, DiskBus.SCSI),
            nics=(NicModel.VIRTIO,),
        ),
        Architecture(
            name="riscv64",
            machine="virt",
            kvm_hosts=frozenset({"riscv64"}),
            emulator="qemu-system-riscv64",
            package="qemu-system-misc",
            accelerated_cpu="host-passthrough",
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


def get(name: str) -> Architecture:
    """Return the facts of the architecture with that name, in any common spelling.

    :raises InvalidParameter: if it is not supported; names those that are.
    """
    lowered = name.lower()
    try:
        return TABLE[_ALIASES.get(lowered, lowered)]
    except KeyError:
        raise exceptions.InvalidParameter("architecture", name, TABLE) from None


def of_host() -> str:
    """Return the canonical name of the architecture that this machine has."""
    return get(platform.machine()).name
