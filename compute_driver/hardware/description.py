# SPDX-License-Identifier: Apache-2.0
"""The hardware of one guest, with every choice made: nothing here is None.

:mod:`compute_driver.hardware.resolve` makes a :class:`Hardware`, :mod:`compute_driver.storage`
takes the drives from it, and each module of :mod:`compute_driver.xml` prints one part of it.  An
empty tuple says that the guest has no such device; an empty text or 0 leaves a value to QEMU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compute_driver.choices import (
    Accelerator,
    Choice,
    ConsoleModel,
    DiskBus,
    InputModel,
    NicModel,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
    WatchdogModel,
)
from compute_driver.consoles import DisplayKind, Spice
from compute_driver.guest import Identity, RngRate, Topology
from compute_driver.hardware.architecture import Architecture
from compute_driver.hardware.machines import Machine


class Switch(Choice):
    """Whether a device or feature is on or off, or QEMU decides."""

    ON = "on"
    OFF = "off"
    DEFAULT = "default"

    @classmethod
    def of(cls, wish: bool | None) -> Switch:
        """Return the switch for a wish; no wish gives QEMU's default."""
        return cls.DEFAULT if wish is None else cls.ON if wish else cls.OFF


class Gic(Choice):
    """The Generic Interrupt Controller, by libvirt's ``<gic version=>`` words."""

    NONE = "none"
    HOST = "host"
    V3 = "3"


class Addresses(Choice):
    """The source of the devices' addresses, and the bus."""

    #: libvirt gives the addresses.
    LIBVIRT = "libvirt"
    #: The domain places virtio devices in memory: the machine has no PCI bus.
    MEMORY = "memory"
    #: The domain places fixed devices on the root bus of PCI Express.
    ROOT_BUS = "root bus"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boot:
    """The start of the guest's system.

    :param uefi: whether UEFI starts the guest.
    :param secure_boot: whether UEFI starts signed boot loaders only.
    :param menu: whether the firmware offers a choice of boot devices.
    """

    uefi: bool
    secure_boot: bool
    menu: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processor:
    """The processor that the guest sees.

    :param model: a CPU model or one of libvirt's CPU modes; empty for QEMU's own choice.
    :param enable: features that are added to the model, by libvirt's names.
    :param disable: features that are taken from the model.
    :param topology: one arrangement of the virtual CPUs; empty leaves the arrangement to libvirt.
    :param host_cpus: the host's processors on which the guest runs; empty for all processors.
    """

    model: str = ""
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    topology: tuple[Topology, ...] = ()
    host_cpus: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """The features of the guest's platform.

    :param acpi: whether the guest has ACPI tables.
    :param apic: whether the guest has an APIC.
    :param hyperv: whether the hypervisor has Hyper-V's interfaces.
    :param hidden: whether KVM hides its signature.
    :param pmu: the performance monitoring unit.
    :param gic: the interrupt controller of ARM machines.
    :param smm: whether the guest has a system management mode.
    """

    acpi: bool
    apic: bool
    hyperv: bool
    hidden: bool
    pmu: Switch
    gic: Gic
    smm: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clock:
    """The guest's clocks.

    :param local_time: whether the hardware clock starts with the host's local time.
    :param catch_up: whether a PC's timers make up for ticks that are lost.
    :param hyperv: whether the guest has Hyper-V's clock.
    :param hpet: the high precision event timer.
    """

    local_time: bool
    catch_up: bool
    hyperv: bool
    hpet: Switch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Virtio:
    """The common settings of the guest's virtio devices.

    :param form: the interface of the devices.
    :param packed: whether the devices offer packed queues.
    """

    form: VirtioForm
    packed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drives:
    """The bus of every drive: one for each drive that the guest has.

    :param root: bus of the root disk.
    :param installer: bus of the CD-ROM drive with the image that the guest boots from.
    :param ephemerals: buses of the ephemeral disks, in the guest's order.
    :param swap: bus of the swap disk.
    :param config_drive: bus of the config drive.
    :param rescue: bus of the rescue system's drive.
    :param scsi: the controller of drives on the SCSI bus.
    """

    root: tuple[DiskBus, ...] = ()
    installer: tuple[DiskBus, ...] = ()
    ephemerals: tuple[DiskBus, ...] = ()
    swap: tuple[DiskBus, ...] = ()
    config_drive: tuple[DiskBus, ...] = ()
    rescue: tuple[DiskBus, ...] = ()
    scsi: ScsiModel

    @property
    def buses(self) -> tuple[DiskBus, ...]:
        """The buses of all drives."""
        return (
            *(*self.root, *self.installer, *self.ephemerals),
            *(*self.swap, *self.config_drive, *self.rescue),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskDriver:
    """How QEMU reads and writes the disks.

    :param cache_modes: cache modes by kind of source; QEMU chooses the mode of other kinds.
    :param discard: whether discards of the guest free space of the host: ``unmap`` or ``ignore``.
    """

    cache_modes: Mapping[str, str]
    discard: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkCard:
    """The card of one network interface.

    :param model: the card's model.
    :param queues: pairs of queues; 0 leaves the number to QEMU, which takes one.
    :param rx_queue_size: packets in a receive queue; 0 leaves the number to QEMU.
    :param rom_off: whether the card's boot ROM is taken out.
    """

    model: NicModel
    queues: int
    rx_queue_size: int
    rom_off: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Console:
    """The serial console.

    :param model: the device of the console.
    :param ports: number of serial ports, the console included.
    :param address: the host's address of the console's TCP port; empty for a pseudo-terminal.
    """

    model: ConsoleModel
    ports: int
    address: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Display:
    """The display adapter, and how the host serves the guest's screen.

    :param model: the adapter's model.
    :param memory_mib: memory of the adapter; 0 leaves the size to QEMU.
    :param screens: protocol and address of each server of the screen.
    :param spice: how SPICE serves the screen.
    """

    model: VideoModel
    memory_mib: int
    screens: tuple[tuple[DisplayKind, str], ...]
    spice: Spice

    @property
    def kinds(self) -> tuple[DisplayKind, ...]:
        """The protocols by which the host serves the screen."""
        return tuple(kind for kind, _ in self.screens)

    @property
    def spice_agent(self) -> bool:
        """Whether SPICE's agent in the guest has a channel."""
        return self.spice.agent and DisplayKind.SPICE in self.kinds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watchdog:
    """A device that acts when the guest hangs.

    :param model: the device's model.
    :param action: the action.
    """

    model: WatchdogModel
    action: WatchdogAction


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSource:
    """A source of random numbers.

    :param rate: one limit; empty for no limit.
    """

    rate: tuple[RngRate, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peripherals:
    """Devices of which a guest has one or none.

    :param usb: the USB controller.
    :param input: keyboard and pointer.
    :param serial_bus: whether the guest has a virtio controller of serial channels.
    :param guest_agent: whether the QEMU guest agent has a channel.
    :param balloon: whether the guest has a memory balloon.
    :param random: the source of random numbers.
    :param sound: the sound card.
    :param watchdog: the watchdog.
    """

    usb: UsbModel
    input: InputModel
    serial_bus: bool
    guest_agent: bool
    balloon: bool
    random: tuple[RandomSource, ...]
    sound: tuple[SoundModel, ...]
    watchdog: tuple[Watchdog, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """All hardware of one guest.

    :param architecture: the facts of the guest's architecture.
    :param family: the facts of the guest's family of machine types.
    :param machine: name of the machine type.
    :param accelerator: the accelerator.
    :param identity: the computer in SMBIOS's tables; the serial number is not None.
    :param cards: one card for each interface, in the guest's order.
    """

    architecture: Architecture
    family: Machine
    machine: str
    accelerator: Accelerator
    addresses: Addresses
    boot: Boot
    identity: tuple[Identity, ...]
    processor: Processor
    features: Features
    clock: Clock
    virtio: Virtio
    drives: Drives
    disk_driver: DiskDriver
    cards: tuple[NetworkCard, ...]
    console: Console
    display: Display
    peripherals: Peripherals
