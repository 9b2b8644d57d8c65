# SPDX-License-Identifier: Apache-2.0
"""The frozen description of a guest.

A :class:`Guest` is all that an operation needs.  Adapters build the description, the libvirt side
reads it, and the domain's ``<metadata>`` stores it (without the fields marked ``secret``).  The
only behaviour of these classes is to refuse values that can never work.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    InterfaceKind,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.guest.addresses import StaticAddress
from compute_driver.guest.bounds import (
    GIB,
    MAX_DISK_BYTES,
    MAX_MEMORY_MIB,
    MAX_NAME_BYTES,
    MAX_USER_DATA_BYTES,
    MAX_VCPUS,
    MIB,
    MIN_BYTES,
    WORD,
    as_uuid,
    is_uuid,
    require,
    require_match,
    require_whole,
    resembles_uuid,
    shown_size,
)
from compute_driver.guest.identity import Identity
from compute_driver.guest.image import ConfigDrive, DirectBoot, Disk, Image, Rescue
from compute_driver.guest.interface import (
    ANY_ADDRESS,
    SSH_PORT,
    Interface,
    PublishedPort,
    random_mac,
)
from compute_driver.guest.processor import Cpu, Topology
from compute_driver.limits import CpuLimits, DiskLimits

__all__ = [  # the parts of a guest, for all who describe or read guests
    "ANY_ADDRESS",
    "GIB",
    "MAX_DISK_BYTES",
    "MAX_USER_DATA_BYTES",
    "MAX_VCPUS",
    "MIB",
    "SSH_PORT",
    "ConfigDrive",
    "Cpu",
    "DirectBoot",
    "Disk",
    "Guest",
    "Identity",
    "Image",
    "Interface",
    "PublishedPort",
    "Rescue",
    "RngRate",
    "StaticAddress",
    "Topology",
    "as_uuid",
    "check_new_name",
    "is_uuid",
    "random_mac",
    "shown_size",
]

#: Largest values of QEMU's machines.
MAX_SERIAL_PORTS = 4
MAX_VIDEO_MIB = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class RngRate:
    """Limit of random numbers from the host.

    :param size_bytes: largest number of bytes in each period.
    :param period_ms: length of a period in milliseconds.
    """

    size_bytes: int
    period_ms: int = 1000

    def __post_init__(self) -> None:
        require_whole("rng rate", self.size_bytes, 1, 2**31 - 1, "bytes")
        require_whole("rng period", self.period_ms, 1, 2**31 - 1, "milliseconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guest:
    """The complete description of a guest.

    :param uuid: identity of the guest, in canonical form.
    :param name: name of the guest and of the libvirt domain, unique on the host.
    :param vcpus: number of virtual processors.
    :param memory_mib: RAM in MiB.
    :param architecture: canonical name, a key of
        :data:`compute_driver.hardware.architecture.TABLE`.
    :param machine: QEMU machine type; None means that the driver chooses: the architecture's
        default, or a machine that has the buses of the guest's drives.
    :param cpu: the processor.
    :param firmware: the firmware; None means the machine's default.
    :param secure_boot: whether UEFI starts only boot loaders that Microsoft's keys signed.
    :param image: content of the root disk, or an ISO 9660 image to boot from; None means an
        empty root disk or no disk.
    :param root: the root disk; None means no root disk.
    :param ephemerals: further empty disks, formatted.
    :param swap: a disk prepared as swap space.
    :param boot: kernel to start directly instead of the image's boot loader.
    :param config_drive: the config drive; None means no config drive.
    :param interfaces: network interfaces, in the guest's order.
    :param video: display adapter; None means the machine's default.
    :param input: keyboard and pointer; None means the machine's default.
    :param console: device of the serial console; None means the architecture's default.
    :param rng: whether the guest has a (virtio) random number generator.
    :param balloon: whether the guest has a (virtio) memory balloon.
    :param virtio: interface of the virtio devices.
    :param guest_agent: whether the guest has a channel for the QEMU guest agent.
    :param os_type: operating system of the guest; Windows gets a clock of local time and, with
        KVM, Hyper-V's interfaces.
    :param boot_menu: whether the firmware offers a menu of boot devices.
    :param hide_hypervisor: whether the processor hides the hypervisor from the guest.
    :param pmu: whether the guest has a performance monitoring unit; None means QEMU's default.
    :param hpet: whether the guest has a high precision event timer; None means no with KVM, and
        QEMU's default without.
    :param cdrom_bus: bus of the installer and the config drive, which are disks with virtio and
        CD-ROMs with other buses; None means the machine's bus for the installer and the root
        disk's bus for the config drive.
    :param scsi_model: model of the SCSI controller, if the guest has one; None means virtio-scsi.
    :param usb_model: model of the USB controller; None means a controller only if one is needed.
    :param sound: sound card without output; None means no sound card.
    :param watchdog: action of the watchdog when the guest hangs; None means no watchdog.
    :param serial_ports: number of serial ports; the first port is the console, and libvirt gives
        its clients access to the others.
    :param video_ram_mib: memory of the display adapter in MiB; None means QEMU's default.
    :param rng_rate: limit of random numbers; None means no limit.
    :param packed_ring: whether virtio devices offer packed queues.
    :param disk_limits: limits of each disk that the guest can write to; None means no limits.
    :param cpu_limits: limits of the virtual processors; None means no limits.
    :param identity: the computer that the guest's system sees.
    :param annotations: XML elements that the adapter adds to the domain's metadata for other
        programs, each in a namespace of its own.
    :param rescue: the rescue system that boots; None means the guest's own system.
    """

    uuid: str
    name: str
    vcpus: int = 1
    memory_mib: int = 512
    architecture: str
    machine: str | None = None
    cpu: Cpu = dataclasses.field(default_factory=Cpu)
    firmware: Firmware | None = None
    secure_boot: bool = False
    image: Image | None = None
    root: Disk | None = None
    ephemerals: tuple[Disk, ...] = ()
    swap: Disk | None = None
    boot: DirectBoot | None = None
    config_drive: ConfigDrive | None = None
    interfaces: tuple[Interface, ...] = ()
    video: VideoModel | None = None
    input: InputModel | None = None
    console: ConsoleModel | None = None
    rng: bool = True
    balloon: bool = True
    virtio: VirtioForm = VirtioForm.VIRTIO
    guest_agent: bool = True
    os_type: OsType | None = None
    boot_menu: bool = False
    hide_hypervisor: bool = False
    pmu: bool | None = None
    hpet: bool | None = None
    cdrom_bus: DiskBus | None = None
    scsi_model: ScsiModel | None = None
    usb_model: UsbModel | None = None
    sound: SoundModel | None = None
    watchdog: WatchdogAction | None = None
    serial_ports: int = 1
    video_ram_mib: int | None = None
    rng_rate: RngRate | None = None
    packed_ring: bool = False
    disk_limits: DiskLimits | None = None
    cpu_limits: CpuLimits | None = None
    identity: Identity = dataclasses.field(default_factory=Identity)
    annotations: tuple[str, ...] = ()
    rescue: Rescue | None = None

    def __post_init__(self) -> None:
        sound = is_uuid(self.uuid) and self.uuid == self.uuid.lower()
        require(sound, "uuid", self.uuid, "a UUID in canonical form, in lower case")
        check_name(self.name)
        require_whole("vcpus", self.vcpus, 1, MAX_VCPUS, "virtual CPUs")
        require_whole("memory", self.memory_mib, 1, MAX_MEMORY_MIB, "MiB")
        require_match(WORD, "machine", self.machine, "a QEMU machine type")
        require_whole("serial_ports", self.serial_ports, 1, MAX_SERIAL_PORTS, "serial ports")
        require_whole("video_ram", self.video_ram_mib, 1, MAX_VIDEO_MIB, "MiB")
        require(self.rng or self.rng_rate is None, "rng rate", self.rng_rate, "none without an rng")
        for field, disk in [*(("ephemeral", d) for d in self.ephemerals), ("swap", self.swap)]:
            if disk is not None:
                least = MIN_BYTES.get(disk.filesystem, MIB)
                accepted = f"at least {least // MIB} MiB"
                require(disk.size_bytes >= least, field, disk.size_bytes, accepted)
        for field, disk in (("disk", self.root), ("swap", self.swap)):
            filesystem = disk and disk.filesystem
            accepted = "a file system on ephemeral disks only"
            require(filesystem is None, f"{field} filesystem", filesystem, accepted)
        require(
            self.image is not None or self.boot is not None or self.root is not None,
            "image",
            None,
            "an image, a kernel, or an empty root disk",
        )
        require(
            self.firmware is not Firmware.UEFI or (self.boot is None and self.kernel is None),
            "firmware",
            str(self.firmware),
            "bios when a kernel is given",
        )
        require(
            not self.secure_boot or self.firmware is Firmware.UEFI,
            "secure_boot",
            self.secure_boot,
            "off, or firmware uefi",
        )
        for interface in self.interfaces:
            queues = interface.queues
            accepted = f"at most {self.vcpus}, the number of virtual CPUs"
            require(queues is None or queues <= self.vcpus, "nic queues", queues, accepted)
        for field in ("device", "mac"):
            names = [name for nic in self.interfaces if (name := getattr(nic, field)) is not None]
            twice = sorted({name for name in names if names.count(name) > 1})
            require(not twice, f"nic {field}", ", ".join(twice), "another for each interface")
        ports = self.published
        for port, other in itertools.combinations(ports, 2):
            accepted = "another port of the host for each published port"
            require(not port.overlaps(other), "publish", str(other), accepted)
        topology = self.cpu.topology
        require(
            topology is None or topology.vcpus == self.vcpus,
            "cpu topology",
            topology and f"{topology.sockets} x {topology.cores} x {topology.threads}",
            f"sockets x cores x threads that make {self.vcpus} virtual CPUs",
        )

    @property
    def published(self) -> tuple[PublishedPort, ...]:
        """The ports of the host that lead to the guest."""
        return tuple(port for interface in self.interfaces for port in interface.published)

    @property
    def addresses(self) -> tuple[StaticAddress, ...]:
        """The static addresses of the guest's interfaces, by the config drive of its first boot."""
        given = self.config_drive.addresses if self.config_drive else {}
        return tuple(address for nic in self.interfaces for address in given.get(nic.mac, ()))

    @property
    def kernel(self) -> DirectBoot | None:
        """The kernel that QEMU loads itself: of the rescue system if the guest is in rescue."""
        return self.boot if self.rescue is None else self.rescue.boot


#: The rules of :func:`is_name` and :func:`check_new_name`, in words.
NAMES = (
    f"1 to {MAX_NAME_BYTES} bytes of printable characters, no '/', not beginning with '.' or"
    " '-' nor ending in a blank, and not a UUID, also without its hyphens"
)


def is_name(name: str) -> bool:
    """Tell whether libvirt and file names accept a guest's name.

    Guests of earlier releases may have names that :func:`check_new_name` refuses.
    """
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
        and name.isprintable()
        and "/" not in name
        and name == name.strip()
        and not name.startswith((".", "-"))
        and not is_uuid(name)
    )


def check_name(name: str) -> None:
    """Refuse a name that libvirt or file names do not accept.

    :raises InvalidParameter: if the name breaks a rule; names all rules.
    """
    require(is_name(name), "name", name, NAMES)


def check_new_name(name: str) -> None:
    """Refuse a name of a new guest that a program may read as the UUID of another guest.

    :raises InvalidParameter: likewise.
    """
    require(not resembles_uuid(name), "name", name, NAMES)


def renamed(guest: Guest, name: str) -> Guest:
    """Return a guest with the name of its domain, which is not checked.

    Another client of libvirt may have renamed the domain, also to a name that no guest can have.
    """
    if guest.name == name:
        return guest
    made = copy.copy(guest)
    object.__setattr__(made, "name", name)
    return made


def publishing(guest: Guest, port: PublishedPort) -> Guest:
    """Return a guest that publishes one more port, by its first interface of kind ``user``.

    User-mode networking leads published ports to the address that its own DHCP server gives.

    :raises InvalidParameter: if the guest has no such interface, if the interface has a static
        address, or if the guest publishes the host's port.
    """
    users = [nic for nic in guest.interfaces if nic.kind is InterfaceKind.USER]
    accepted = f"a guest with an interface of kind {InterfaceKind.USER}"
    require(bool(users), "publish", str(port), accepted)
    static = guest.config_drive.addresses if guest.config_drive else {}
    accepted = "a port of a guest whose first interface of kind user has no address"
    require(not static.get(users[0].mac), "publish", str(port), accepted)
    return _with_ports(guest, users[0], (*users[0].published, port))


def withdrawing(guest: Guest, port: PublishedPort) -> Guest:
    """Return a guest that does not publish a port.

    :raises InvalidParameter: if the guest does not publish the port; names the published ports.
    """
    accepted = ", ".join(map(str, guest.published)) or "nothing: the guest publishes no port"
    require(port in guest.published, "publish", str(port), accepted)
    (owner,) = (nic for nic in guest.interfaces if port in nic.published)
    return _with_ports(guest, owner, tuple(kept for kept in owner.published if kept != port))


def require_unpublished(
    guest: Guest, ports: Iterable[PublishedPort], others: Iterable[Guest]
) -> None:
    """Refuse ports of the host for a guest, if another guest publishes one of the ports.

    :param others: all guests of the host, with or without *guest*.
    :raises NotOnThisHost: names the other guest.
    """
    for other in others:
        for port, taken in itertools.product(ports, other.published):
            if other.uuid != guest.uuid and port.overlaps(taken):
                accepted = f"a port that no other guest publishes; guest {other.name!r} does"
                raise exceptions.NotOnThisHost("publish", str(port), accepted)


def _with_ports(guest: Guest, changed: Interface, published: tuple[PublishedPort, ...]) -> Guest:
    made = dataclasses.replace(changed, published=published)
    interfaces = tuple(made if nic is changed else nic for nic in guest.interfaces)
    return dataclasses.replace(guest, interfaces=interfaces)


def unusable_name(guest: Guest, accepted: str = NAMES) -> exceptions.NameUnusable:
    """Return the error for a guest that another client of libvirt has renamed, with the remedy."""
    remedy = f"'virsh domrename' gives domain {guest.uuid} another name"
    return exceptions.NameUnusable("name", guest.name, f"{accepted}; {remedy}")


def is_stored(value: Any) -> bool:
    """Tell whether the domain's metadata may hold a field of a dataclass: no secret."""
    return not value.metadata.get("secret", False)
