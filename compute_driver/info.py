# SPDX-License-Identifier: Apache-2.0
"""The reports of drivers: frozen records about guests and the host."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import Accelerator, DiskFormat, PowerState
from compute_driver.consoles import DisplayKind
from compute_driver.guest import Guest

#: Words for the firmware of machines.
BIOS, UEFI, UEFI_WITH_SECURE_BOOT = "bios", "uefi", "uefi with secure boot"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """The place of a disk or an interface, as the guest sees it.

    :param name: of a disk, such as ``vda``; of an interface, the name of its device on the host;
        empty without a name.
    :param mac: an interface's MAC address; None for a disk.
    :param bus: ``pci``, or the bus of the disk.
    :param address: such as ``0000:01:00.0`` on PCI, ``0:0:0:1`` (controller, bus, target, unit) on
        a bus of drives; empty without an address.
    """

    name: str
    mac: str | None = None
    bus: str
    address: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestInfo:
    """A guest at the time of the report.

    A list of guests leaves ``cpu``, ``overhead_mib``, ``devices`` and ``before`` empty.

    :param guest: the stored description.
    :param state: the power state.
    :param state_reason: the reason for the state, in plain words; empty if the guest runs or the
        reason is unknown.  A list of guests has the word of :class:`choices.StateReason` only.
    :param accelerator: the accelerator of the guest's domain.
    :param reason: the reason for the accelerator, in plain words.
    :param cpu: the CPU model of the domain, and the features of the model that the domain lacks;
        empty if QEMU chooses the model.
    :param overhead_mib: the most memory in MiB that the emulator takes besides the guest's memory.
    :param console: file with the log of the serial console.
    :param devices: the places of disks and interfaces.
    :param before: the description before a resize that is neither confirmed nor reverted; None
        without such a resize.
    """

    guest: Guest
    state: PowerState
    accelerator: Accelerator
    reason: str
    state_reason: str = ""
    cpu: str = ""
    overhead_mib: int | None = None
    console: str = ""
    devices: tuple[Device, ...] = ()
    before: Guest | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Display:
    """The address of a running guest's screen.

    :param kind: the protocol.
    :param host: the address at which QEMU listens.
    :param port: the TCP port; None if SPICE accepts encrypted connections only.
    :param tls_port: the TCP port for SPICE's encrypted connections; VNC's encrypted connections use
        *port*.
    """

    kind: DisplayKind
    host: str
    port: int | None
    tls_port: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """The address at which a TCP server listens."""

    host: str
    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskStats:
    """Counters of one disk since the start of the guest."""

    name: str
    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterfaceStats:
    """Counters of one interface since the start of the guest.

    All counters are None if the host does not count, for example with user-mode networking.
    """

    name: str
    received_bytes: int | None
    received_packets: int | None
    sent_bytes: int | None
    sent_packets: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestStats:
    """Use of resources by one guest.

    :param state_reason: see :class:`GuestInfo`.
    :param vcpu_times_ns: time in nanoseconds that each virtual CPU ran since the start of the
        guest; empty if the guest does not run.
    :param memory_bytes: the guest's present RAM.
    :param used_bytes: memory that the guest's system uses, as the system tells it; None if it
        does not tell.
    :param resident_bytes: memory of the host that the emulator's process holds.
    :param answers: whether the emulator answers; else its counters are not known, and are 0 or
        empty.
    """

    uuid: str
    name: str
    state: PowerState
    vcpus: int
    memory_bytes: int
    resident_bytes: int
    used_bytes: int | None = None
    answers: bool = True
    state_reason: str = ""
    vcpu_times_ns: tuple[int, ...] = ()
    disks: tuple[DiskStats, ...] = ()
    interfaces: tuple[InterfaceStats, ...] = ()

    @property
    def cpu_time_ns(self) -> int:
        """Time in nanoseconds that all virtual CPUs ran since the start of the guest.

        0 as well if the emulator has one thread for all virtual CPUs, which libvirt does not count.
        """
        return sum(self.vcpu_times_ns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineType:
    """One machine type of an emulator.

    :param alias: another name, which each emulator gives to its newest type; may be empty.
    :param default: whether guests without a named machine type get this type.
    :param deprecated: whether newer emulators will not have this type.
    """

    name: str
    alias: str = ""
    default: bool = False
    deprecated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """The abilities of the host for guests of one architecture.

    Only a full description has the facts that take a start of the emulator: the fields after
    ``reason``.

    :param emulator: path of the program; empty without an emulator.
    :param accelerator: the accelerator of new guests; None if the driver refuses such guests.
    :param reason: the reason for the accelerator or for the refusal, in plain words.
    :param emulator_version: such as ``7.2.22``.
    :param machines: machine types that guests can have.
    :param cpu_models: CPU models that guests can have, and words such as ``host-model``.
    :param incomplete_cpu_models: CPU models that guests get without some of their features.
    :param cpu_features: the CPU features of the models that guests get if they name none; empty if
        libvirt does not know the features.
    :param max_vcpus: the largest number of virtual CPUs on the default machine; None if unknown.
    :param firmware: firmware of the default machine: :data:`BIOS`, :data:`UEFI`,
        :data:`UEFI_WITH_SECURE_BOOT`; None if unknown.
    :param absent_devices: family and model of the devices that machines of this architecture can
        have on other hosts, and guests of this host cannot: ``nic model igb`` for example.
    """

    architecture: str
    emulator: str
    accelerator: Accelerator | None = None
    reason: str
    emulator_version: str = ""
    machines: tuple[MachineType, ...] = ()
    cpu_models: tuple[str, ...] = ()
    incomplete_cpu_models: tuple[str, ...] = ()
    cpu_features: tuple[str, ...] = ()
    max_vcpus: int | None = None
    firmware: tuple[str, ...] | None = None
    absent_devices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostInfo:
    """The host, for a scheduler or an operator.

    :param qemu_version: of the emulator for the host's architecture, or of another emulator that
        is described in full; empty if no emulator is.
    :param cpus: the number of processors on which guests run.
    """

    hostname: str
    driver: str
    connection_uri: str
    libvirt_version: str
    qemu_version: str
    virt_type: str
    cpus: int
    memory_bytes: int
    memory_free_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    architectures: tuple[ArchitectureInfo, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the check of a host.

    :param subject: the checked part of the host.
    :param verdict: ``ok``, ``absent`` (an optional part is not there), ``warning`` (the part works
        with a disadvantage) or ``failure``.
    :param detail: the facts, in plain words.
    :param remedy: the action or the package that helps; empty if no action is needed.
    """

    subject: str
    verdict: str
    detail: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One file of the cache of images.

    :param source: path or URL of the image, without credentials; empty if unknown.
    :param path: the file.
    :param format: ``qcow2``, ``raw`` or ``iso``.
    :param size_bytes: the space on disk, without holes.
    :param used_at: the time of the last use, in seconds since the epoch.
    :param guests: UUIDs of the guests that need the file.
    """

    source: str
    path: str
    format: DiskFormat
    size_bytes: int
    used_at: float
    guests: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A resource without a guest, or a fault of a guest.

    :param kind: kind of the resource or of the fault, in one to three words.
    :param subject: path or name of the resource, or UUID of the guest.
    :param detail: the reason for the finding.
    :param repaired: whether the driver has removed the resource, or mended the fault.
    """

    kind: str
    subject: str
    detail: str
    repaired: bool = False
