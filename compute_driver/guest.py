# SPDX-License-Identifier: Apache-2.0
"""The frozen description of a guest.

A :class:`Guest` is all that an operation needs.  Adapters build the description, the libvirt side
reads it, and the domain's ``<metadata>`` stores it (without the fields marked ``secret``).  The
only behaviour of these classes is to refuse values that can never work.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import uuid as uuidlib
from collections.abc import Mapping
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    DiskFormat,
    Firmware,
    InputModel,
    InterfaceKind,
    NicModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.limits import Bandwidth, CpuLimits, DiskLimits

MIB = 1024**2
GIB = 1024**3

#: Upper bounds that catch a wrong unit; the real limits of hosts are far lower.
MAX_MEMORY_MIB = 64 * 1024**2
MAX_DISK_BYTES = 8 * 1024 * 1024 * GIB
MAX_VCPUS = 4096
MAX_NAME_BYTES = 128
MAX_USER_DATA_BYTES = 65535

#: Longest text of a guest's identity, which catches a wrong value; SMBIOS has no limit.
MAX_IDENTITY_LENGTH = 255

#: Largest values of QEMU's machines.
MAX_SERIAL_PORTS = 4
MAX_VIDEO_MIB = 256

#: The minimum of IP (RFC 791), and the maximum of a length of 16 bits.
MIN_MTU = 68
MAX_MTU = 65535

_SECRET = {"secret": True}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SOURCE = re.compile(r"[^\s/\x00-\x1f<>&'\"]{1,64}")
#: Linux's limit of 15 bytes; libvirt uses names that begin with vnet itself.
_DEVICE = re.compile(r"(?!vnet)[A-Za-z0-9][A-Za-z0-9._-]{0,14}")

#: Checksum algorithms, with their numbers of hexadecimal digits.
_CHECKSUMS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
_CHECKSUM = re.compile("|".join(f"{name}:[0-9a-f]{{{n}}}" for name, n in _CHECKSUMS.items()))


def random_mac() -> str:
    """Return a MAC address in the range that QEMU and libvirt use for guests (52:54:00)."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in os.urandom(3))


def is_uuid(text: str) -> bool:
    """Tell whether *text* is a UUID in its canonical form (36 characters)."""
    try:
        return str(uuidlib.UUID(text)) == text.lower()
    except ValueError:
        return False


def _require(condition: bool, field: str, value: object, accepted: str) -> None:
    if not condition:
        raise exceptions.InvalidParameter(field, value, accepted)


def _whole(field: str, value: object, low: int, high: int, unit: str) -> None:
    sound = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _require(sound, field, value, f"a whole number of {unit}, {low} to {high}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """The source of a disk, kernel or ramdisk.

    :param location: a local path, or a URL whose scheme an image source serves.
    :param checksum: ``ALGORITHM:HEX`` of the bytes at the location; None means unknown.
    :param format: format of the image, checked against the bytes; None means unknown.
    """

    location: str
    checksum: str | None = None
    format: DiskFormat | None = None

    def __post_init__(self) -> None:
        sound = bool(self.location.strip()) and "\x00" not in self.location
        _require(sound, "image", self.location, "a local path or a URL")
        _require(
            self.checksum is None or _CHECKSUM.fullmatch(self.checksum) is not None,
            "checksum",
            self.checksum,
            ", ".join(f"{name}:HEX of {n} digits" for name, n in _CHECKSUMS.items())
            + ", in lower case",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disk:
    """One disk of the guest.

    :param size_bytes: size that the guest sees; 0 on the root disk means the size of the image.
    :param bus: bus of the disk; None means the architecture's paravirtual default.
    """

    size_bytes: int = 0
    bus: DiskBus | None = None

    def __post_init__(self) -> None:
        _whole("disk", self.size_bytes, 0, MAX_DISK_BYTES, "bytes")
        _require(self.size_bytes % 512 == 0, "disk", self.size_bytes, "a multiple of 512 bytes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interface:
    """One network interface.

    :param kind: kind of port that the interface is plugged into.
    :param source: name of the libvirt network or of the bridge; None with kind ``user``.
    :param model: model of the card; None means the architecture's paravirtual default.
    :param mac: hardware address, kept over reboots.
    :param device: name of the host's device, at most 15 bytes.  None leaves the name to libvirt;
        with kind ``ovs`` None becomes a name from the port's UUID, like neutron's names, or from
        the MAC address.
    :param port: UUID of neutron's port; neutron identifies the interface by this UUID.
    :param hybrid: whether an own bridge of the kernel lies between the interface and Open vSwitch;
        neutron's firewall ``iptables_hybrid`` filters there.  Needs kind ``ovs`` and a port.
    :param mtu: largest packet in bytes; None means the network's default.
    :param queues: pairs of queues of a virtio card, at most one for each virtual processor; None
        means one.
    :param inbound: limit of traffic to the guest; None means no limit.
    :param outbound: limit of traffic from the guest; None means no limit.
    """

    kind: InterfaceKind = InterfaceKind.USER
    source: str | None = None
    model: NicModel | None = None
    mac: str = dataclasses.field(default_factory=random_mac)
    device: str | None = None
    port: str | None = None
    hybrid: bool = False
    mtu: int | None = None
    queues: int | None = None
    inbound: Bandwidth | None = None
    outbound: Bandwidth | None = None

    def __post_init__(self) -> None:
        _require(
            _MAC.fullmatch(self.mac) is not None and int(self.mac[:2], 16) % 2 == 0,
            "nic",
            self.mac,
            "a unicast MAC address such as 52:54:00:12:34:56",
        )
        if self.kind.thing is None:
            _require(self.source is None, "nic", self.source, f"no name with kind {self.kind}")
            for field in ("device", "port", "mtu", "queues", "inbound", "outbound"):
                value = getattr(self, field)
                _require(value is None, f"nic {field}", value, f"nothing with kind {self.kind}")
        else:
            _require(
                self.source is not None and _SOURCE.fullmatch(self.source) is not None,
                "nic",
                self.source or str(self.kind),
                f"{self.kind}=NAME, the name of a {self.kind.thing}",
            )
        _require(
            self.port is None or is_uuid(self.port), "nic port", self.port, "a UUID in full length"
        )
        _require(
            not self.hybrid or (self.kind.switched and self.port is not None),
            "nic hybrid",
            self.hybrid,
            "kind ovs, and a port of neutron's",
        )
        if self.kind.switched and self.device is None:
            name = self.port[:11] if self.port else self.mac.replace(":", "")
            object.__setattr__(self, "device", f"tap{name}")
        _require(
            self.device is None or _DEVICE.fullmatch(self.device) is not None,
            "nic device",
            self.device,
            "a device name of at most 15 letters, digits, '.', '_' and '-', not vnet...",
        )
        if self.mtu is not None:
            _whole("nic mtu", self.mtu, MIN_MTU, MAX_MTU, "bytes")
        if self.queues is not None:
            _whole("nic queues", self.queues, 1, MAX_VCPUS, "queues")
            _require(
                self.model in (None, NicModel.VIRTIO), "nic queues", self.queues, "model virtio"
            )

    @property
    def own_bridge(self) -> str | None:
        """Name of the own bridge of a hybrid interface, as neutron expects it; None without one."""
        return f"qbr{(self.port or '')[:11]}" if self.hybrid else None

    @property
    def switch_port(self) -> str | None:
        """Name of the switch's port for the interface; None if its kind has no switch."""
        if self.hybrid:
            return f"qvo{(self.port or '')[:11]}"
        return self.device if self.kind.switched else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RngRate:
    """Limit of random numbers from the host.

    :param size_bytes: largest number of bytes in each period.
    :param period_ms: length of a period in milliseconds.
    """

    size_bytes: int
    period_ms: int = 1000

    def __post_init__(self) -> None:
        _whole("rng rate", self.size_bytes, 1, 2**31 - 1, "bytes")
        _whole("rng period", self.period_ms, 1, 2**31 - 1, "milliseconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """Arrangement of the guest's virtual processors; the product is their number."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _whole(f"cpu {field.name}", value, 1, MAX_VCPUS, field.name)

    @property
    def vcpus(self) -> int:
        """Number of virtual processors."""
        return self.sockets * self.cores * self.threads


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processor that the guest sees.

    :param model: a named CPU model, ``host-model``, ``host-passthrough`` or ``maximum``;
        None means the default of the architecture and accelerator.
    :param enable: features in addition to the model's, by libvirt's names.
    :param disable: features that the processor does not have, by libvirt's names.
    :param topology: arrangement of the processors; None means one socket for each.
    """

    model: str | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    topology: Topology | None = None

    def __post_init__(self) -> None:
        _require(
            self.model is None or _WORD.fullmatch(self.model) is not None,
            "cpu",
            self.model,
            "a CPU model name",
        )
        for name in (*self.enable, *self.disable):
            sound = _WORD.fullmatch(name) is not None
            _require(sound, "cpu feature", name, "a CPU feature's name")
        both = sorted({*self.enable} & {*self.disable})
        _require(not both, "cpu feature", ", ".join(both), "a feature either enabled or disabled")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What the firmware's tables (SMBIOS) tell the guest's system about its computer.

    Programs in images decide by these texts which cloud they are in.  The UUID in the tables is
    the guest's UUID.

    :param manufacturer: who made the computer.
    :param product: the computer's model.
    :param version: the model's version; empty leaves the version to QEMU.
    :param serial: the serial number; empty leaves the number to QEMU, None means the guest's UUID.
    :param family: the family of models.
    """

    manufacturer: str = "compute_driver"
    #: systemd knows a virtual machine by the beginning of this text.
    product: str = "QEMU Virtual Machine"
    version: str = ""
    serial: str | None = None
    family: str = "Virtual Machine"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name) or ""
            _require(
                value.isprintable() and len(value) <= MAX_IDENTITY_LENGTH,
                f"identity {field.name}",
                value,
                f"at most {MAX_IDENTITY_LENGTH} printable characters",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DirectBoot:
    """A kernel that QEMU loads itself, without the boot loader of the image.

    :param kernel: the kernel.
    :param ramdisk: the initial ramdisk; None means no ramdisk.
    :param cmdline: command line of the kernel.
    """

    kernel: Image
    ramdisk: Image | None = None
    cmdline: str = ""

    def __post_init__(self) -> None:
        sound = self.cmdline.isprintable() and len(self.cmdline) <= 2048
        _require(sound, "cmdline", self.cmdline, "at most 2048 printable characters")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigDrive:
    """The content of a config drive, in OpenStack's ``config-2`` layout.

    :param hostname: host name for the guest.
    :param user_data: opaque bytes for cloud-init or similar programs, at most 65535.
    :param public_keys: SSH keys by name.
    :param meta: free key-value pairs.
    :param admin_password: initial password of the administrator.
    :param files: complete content of the drive, by path, which replaces the other fields.
    """

    hostname: str
    user_data: bytes | None = dataclasses.field(default=None, metadata=_SECRET, repr=False)
    public_keys: Mapping[str, str] = dataclasses.field(
        default_factory=dict, metadata=_SECRET, repr=False
    )
    meta: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata=_SECRET, repr=False)
    admin_password: str | None = dataclasses.field(default=None, metadata=_SECRET, repr=False)
    files: Mapping[str, bytes] = dataclasses.field(
        default_factory=dict, metadata=_SECRET, repr=False
    )

    def __post_init__(self) -> None:
        size = len(self.user_data or b"")
        _require(
            size <= MAX_USER_DATA_BYTES,
            "user_data",
            f"{size} bytes",
            f"at most {MAX_USER_DATA_BYTES} bytes",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rescue:
    """A rescue system, which boots temporarily with the guest's disks attached.

    :param image: a disk or an ISO 9660 image.
    :param boot: kernel to start instead of the image's boot loader.
    :param config_drive: config drive of the rescue system; None means the guest's config drive.
    :param last: whether the rescue disk comes after the guest's disks, which then keep their
        places; otherwise the rescue disk comes first.
    :param bus: bus of the rescue disk; None means the root disk's bus, or the machine's bus for a
        CD-ROM.
    :param cdrom: whether the image is in a CD-ROM drive; None means yes for an ISO 9660 image.
    """

    image: Image
    boot: DirectBoot | None = None
    config_drive: ConfigDrive | None = None
    last: bool = False
    bus: DiskBus | None = None
    cdrom: bool | None = None

    @property
    def in_drive(self) -> bool:
        """Whether the image is in a CD-ROM drive; needs the format of the image."""
        return self.image.format is DiskFormat.ISO if self.cdrom is None else self.cdrom


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guest:
    """The complete description of a guest.

    :param uuid: identity of the guest, in canonical form.
    :param name: name of the guest and of the libvirt domain, unique on the host.
    :param vcpus: number of virtual processors.
    :param memory_mib: RAM in MiB.
    :param architecture: canonical name, a key of
        :data:`compute_driver.hardware.architecture.TABLE`.
    :param machine: QEMU machine type; None means the architecture's default.
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
    :param identity: what the guest's system is told about its computer.
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
    cpu: Cpu = Cpu()
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
    identity: Identity = Identity()
    annotations: tuple[str, ...] = ()
    rescue: Rescue | None = None

    def __post_init__(self) -> None:
        sound = is_uuid(self.uuid) and self.uuid == self.uuid.lower()
        _require(sound, "uuid", self.uuid, "a UUID in canonical form, in lower case")
        check_name(self.name)
        _whole("vcpus", self.vcpus, 1, MAX_VCPUS, "virtual CPUs")
        _whole("memory", self.memory_mib, 1, MAX_MEMORY_MIB, "MiB")
        _require(
            self.machine is None or _WORD.fullmatch(self.machine) is not None,
            "machine",
            self.machine,
            "a QEMU machine type",
        )
        _whole("serial_ports", self.serial_ports, 1, MAX_SERIAL_PORTS, "serial ports")
        if self.video_ram_mib is not None:
            _whole("video_ram", self.video_ram_mib, 1, MAX_VIDEO_MIB, "MiB")
        _require(
            self.rng or self.rng_rate is None, "rng rate", self.rng_rate, "none without an rng"
        )
        for field, disk in [*(("ephemeral", d) for d in self.ephemerals), ("swap", self.swap)]:
            if disk is not None:
                _require(disk.size_bytes >= MIB, field, disk.size_bytes, "at least 1 MiB")
        _require(
            self.image is not None or self.boot is not None or self.root is not None,
            "image",
            None,
            "an image, a kernel, or an empty root disk",
        )
        _require(
            self.firmware is not Firmware.UEFI or (self.boot is None and self.kernel is None),
            "firmware",
            str(self.firmware),
            "bios when a kernel is given",
        )
        _require(
            not self.secure_boot or self.firmware is Firmware.UEFI,
            "secure_boot",
            self.secure_boot,
            "off, or firmware uefi",
        )
        for interface in self.interfaces:
            queues = interface.queues
            accepted = f"at most {self.vcpus}, the number of virtual CPUs"
            _require(queues is None or queues <= self.vcpus, "nic queues", queues, accepted)
        for field in ("device", "mac"):
            names = [name for nic in self.interfaces if (name := getattr(nic, field)) is not None]
            twice = sorted({name for name in names if names.count(name) > 1})
            _require(not twice, f"nic {field}", ", ".join(twice), "another for each interface")
        topology = self.cpu.topology
        _require(
            topology is None or topology.vcpus == self.vcpus,
            "cpu topology",
            topology and f"{topology.sockets} x {topology.cores} x {topology.threads}",
            f"sockets x cores x threads that make {self.vcpus} virtual CPUs",
        )

    @property
    def kernel(self) -> DirectBoot | None:
        """The kernel that QEMU loads itself: of the rescue system if the guest is in rescue."""
        return self.boot if self.rescue is None else self.rescue.boot


#: The rules of :func:`is_name`, in words.
NAMES = (
    f"1 to {MAX_NAME_BYTES} bytes of printable characters, no '/', not beginning with '.' or"
    " '-' nor ending in a blank, and not itself a UUID"
)


def is_name(name: str) -> bool:
    """Tell whether libvirt and file names accept a guest's name."""
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
    _require(is_name(name), "name", name, NAMES)


def renamed(guest: Guest, name: str) -> Guest:
    """Return a guest with the name of its domain, which is not checked.

    Another client of libvirt may have renamed the domain, also to a name that no guest can have.
    """
    made = copy.copy(guest)
    object.__setattr__(made, "name", name)
    return made


def stored(value: Any) -> bool:
    """Tell whether the domain's metadata may hold a field of a dataclass: no secret."""
    return not value.metadata.get("secret", False)
