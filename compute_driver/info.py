# SPDX-License-Identifier: Apache-2.0
"""What drivers report: frozen records about guests and the host."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import Accelerator, DiskFormat, PowerState
from compute_driver.consoles import DisplayKind
from compute_driver.guest import Guest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """Where a disk or an interface is attached, as the guest sees it.

    :param name: such as ``vda``, or the host's own name of an interface; empty if there is none.
    :param mac: an interface's hardware address; None for a disk.
    :param bus: ``pci``, or the bus of the disk.
    :param address: such as ``0000:01:00.0`` on PCI, ``0:0:0:1`` (controller, bus, target, unit) on
        a bus of drives; empty where there is none.
    """

    name: str
    mac: str | None = None
    bus: str
    address: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestInfo:
    """A guest as it is now.

    :param guest: its stored description.
    :param state: what it is doing.
    :param accelerator: as its domain really has it.
    :param reason: why that accelerator, in plain words.
    :param cpu: model of the processor that its domain really has, and what that lacks of it;
        empty if QEMU chooses, or when it was not looked for.
    :param overhead_mib: memory in MiB that its emulator takes besides the guest's own, at most;
        None when it was not looked for.
    :param console: where its serial console is logged.
    :param devices: where its disks and interfaces are attached; empty when not looked for.
    :param before: what it was before a resize that is not confirmed yet; None if there is none, or
        when it was not looked for.
    """

    guest: Guest
    state: PowerState
    accelerator: Accelerator
    reason: str
    cpu: str = ""
    overhead_mib: int | None = None
    console: str = ""
    devices: tuple[Device, ...] = ()
    before: Guest | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Display:
    """Where a running guest's screen is served.

    :param kind: the protocol.
    :param host: the address that QEMU listens at.
    :param port: its TCP port; None if it takes encrypted connections only.
    :param tls_port: that of SPICE's encrypted connections; VNC has them at the other one.
    """

    kind: DisplayKind
    host: str
    port: int | None
    tls_port: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """Where a TCP server listens."""

    host: str
    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskStats:
    """Counters of one disk since the guest was started."""

    name: str
    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterfaceStats:
    """Counters of one interface since the guest was started.

    All are None of interfaces that nobody counts, such as those of user-mode networking.
    """

    name: str
    received_bytes: int | None
    received_packets: int | None
    sent_bytes: int | None
    sent_packets: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestStats:
    """Use of resources by one guest.

    :param vcpu_times_ns: time that each virtual processor ran since start, in nanoseconds; empty
        if the guest does not run.
    :param memory_bytes: RAM that the guest has now.
    :param resident_bytes: memory of the host that its process holds.
    """

    uuid: str
    name: str
    state: PowerState
    vcpus: int
    memory_bytes: int
    resident_bytes: int
    vcpu_times_ns: tuple[int, ...] = ()
    disks: tuple[DiskStats, ...] = ()
    interfaces: tuple[InterfaceStats, ...] = ()

    @property
    def cpu_time_ns(self) -> int:
        """Time that all its virtual processors ran since start, in nanoseconds.

        0 as well if its emulator has one thread for them all, of which libvirt tells nothing.
        """
        return sum(self.vcpu_times_ns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineType:
    """One of an emulator's machine types.

    :param alias: another name for it, which newer emulators give to newer types; may be empty.
    :param default: whether guests get it that name none.
    :param deprecated: whether it will be gone from newer emulators.
    """

    name: str
    alias: str = ""
    default: bool = False
    deprecated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """What the host can do for guests of one architecture.

    Whatever takes a start of the emulator is left empty unless it was asked for.

    :param emulator: path of the program; empty if there is none.
    :param accelerator: what a guest would really get; None if it would be refused.
    :param reason: why, in plain words.
    :param emulator_version: such as ``7.2.22``.
    :param machines: machine types that guests can have.
    :param cpu_models: CPU models, and words for CPUs chosen by the host, that guests can have.
    :param incomplete_cpu_models: those that guests get without some of their features.
    :param cpu_features: what the processor has of guests that ask for none; empty where libvirt
        does not know.
    :param max_vcpus: how many virtual CPUs the default machine takes; None if that is not known.
    :param firmware: what can start a boot loader on the default machine: ``bios``, ``uefi``,
        ``uefi with secure boot``; None if that is not known.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostInfo:
    """The host, as a scheduler or an operator wants to know it.

    :param qemu_version: of the emulator of the host's own architecture, or of another one that
        was looked at; empty if none was.
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
    """One line of the preflight.

    :param subject: what was looked at.
    :param verdict: ``ok``, ``absent`` (not there, and needed only by those who want it),
        ``warning`` (works, but not as well as it could) or ``failure``.
    :param detail: what was found, in plain words.
    :param remedy: what to do or to install; empty if nothing is needed.
    """

    subject: str
    verdict: str
    detail: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One file of the cache of images.

    :param source: where it came from, without credentials; empty if that was not noted.
    :param path: the file.
    :param format: ``qcow2``, ``raw`` or ``iso``.
    :param size_bytes: what it takes on disk, as far as it is not a hole.
    :param used_at: when it was last wanted or seen in use, in seconds since the epoch.
    :param guests: UUIDs of the guests that need it.
    """

    source: str
    path: str
    format: DiskFormat
    size_bytes: int
    used_at: float
    guests: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that no guest owns, or that a guest lacks.

    :param kind: what it is, in one or two words.
    :param subject: its path or UUID.
    :param detail: why it is listed.
    :param repaired: whether it was removed.
    """

    kind: str
    subject: str
    detail: str
    repaired: bool = False
