# SPDX-License-Identifier: Apache-2.0
"""The facts of all guest architectures, in one table.

Sources: libvirt "Domain XML format", QEMU "System Emulator Targets", and the guests that booted in
the project's own tests.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import platform
from typing import TypeVar

from compute_driver import exceptions
from compute_driver.choices import Choice, Firmware
from compute_driver.guest import Guest
from compute_driver.hardware import machines
from compute_driver.hardware.machines import Machine

_C = TypeVar("_C", bound=Choice)


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
    def machine_names(self) -> list[str]:
        """The patterns of the names of the machine types that the driver can describe."""
        return [pattern for family in self.machines for pattern in family.names]

    def knows(self, machine: str) -> bool:
        """Tell whether the driver can describe guests with a machine type."""
        return any(fnmatch.fnmatchcase(machine, pattern) for pattern in self.machine_names)

    @property
    def machine(self) -> str:
        """Name of the machine type that guests get unless they ask for a device it lacks."""
        return self.machines[0].name


TABLE: dict[str, Architecture] = {
    a.name: a
    for a in (
        Architecture(
            name="x86_64",
            machines=(machines.Q35_UEFI, machines.PC_UEFI, machines.MICROVM),
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
            machines=(machines.Q35, machines.PC, machines.MICROVM),
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
            machines=(machines.ARM_VIRT,),
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
            machines=(dataclasses.replace(machines.VIRT, smbios=True, max_vcpus=8),),
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
            machines=(machines.PSERIES,),
            kvm_hosts=frozenset({"ppc64le"}),
            emulator="qemu-system-ppc64",
            package="qemu-system-ppc",
            emulated_cpu="POWER9",
            emulated_cpu_modes=(),
            emulated_threads=False,
        ),
        Architecture(
            name="s390x",
            machines=(machines.S390,),
            kvm_hosts=frozenset({"s390x"}),
            threads=False,
            emulator="qemu-system-s390x",
            package="qemu-system-misc",
        ),
        Architecture(
            name="riscv64",
            machines=(machines.VIRT,),
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
    facts = find(name)
    if facts is None:
        raise exceptions.InvalidParameter(field, name, TABLE)
    return facts


def find(name: str) -> Architecture | None:
    """Return, as :func:`get`, the facts of an architecture; None if the table lacks it."""
    return TABLE.get(_canonical(name))


def of_host() -> str:
    """Return the canonical name of the host's architecture, which the table may lack."""
    return _canonical(platform.machine())


def _canonical(name: str) -> str:
    lowered = name.lower()
    return _ALIASES.get(lowered, lowered)


def machine_type(guest: Guest) -> str:
    """Return the name of the guest's machine type, which the driver chooses if no user does."""
    return guest.machine or _own_choice(guest).name


def machine(guest: Guest) -> Machine:
    """Return the facts of the guest's family of machine types.

    :raises InvalidParameter: if no family has the guest's machine type; names all families of the
        guest's architecture.
    """
    wanted = guest.machine
    if wanted is None:
        return _own_choice(guest)
    facts = get(guest.architecture)
    for family in facts.machines:
        if any(fnmatch.fnmatchcase(wanted, pattern) for pattern in family.names):
            return family
    raise exceptions.InvalidParameter("machine", wanted, facts.machine_names)


def _own_choice(guest: Guest) -> Machine:
    """Return the first family that has all buses of the guest's drives, or the default.

    A rescue leaves the choice as it is.
    """
    families = get(guest.architecture).machines
    disks = [disk for disk in (guest.root, *guest.ephemerals, guest.swap) if disk is not None]
    buses = {guest.cdrom_bus, *(disk.bus for disk in disks)} - {None}
    return next((family for family in families if buses <= {*family.buses}), families[0])


def keeping_machine(guest: Guest, before: Guest) -> Guest:
    """Return a guest that keeps its machine type, unless its new description names another one.

    :param guest: the new description.
    :param before: the description until now.
    """
    kept = machine_type(before)
    if guest.machine is not None or machine_type(guest) == kept:
        return guest
    return dataclasses.replace(guest, machine=kept)


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
