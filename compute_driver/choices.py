# SPDX-License-Identifier: Apache-2.0
"""Closed sets of choices: the words that describe guests and operations."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TypeVar

from compute_driver import exceptions

_E = TypeVar("_E", bound="Choice")


class Choice(str, enum.Enum):
    """A closed set of words; ``str()`` of a member is its word."""

    __str__ = str.__str__

    @classmethod
    def parse(cls: type[_E], field: str, value: str) -> _E:
        """Return the member of a word.

        :param field: name of the parameter, for the error.
        :param value: the word, in upper or lower case.
        :raises InvalidParameter: if the word is not accepted; names all words.
        """
        if value.lower() not in cls.words():
            raise exceptions.InvalidParameter(field, value, cls.words())
        return cls(value.lower())

    @classmethod
    def words(cls) -> list[str]:
        """Return the words that :meth:`parse` accepts."""
        return [str(member) for member in cls]


class VirtType(Choice):
    """Values of option ``virt_type``: the operator's wish."""

    KVM = "kvm"
    QEMU = "qemu"


class Accelerator(Choice):
    """The way to run the guest's instructions."""

    #: The processor itself, through the kernel's KVM module.
    KVM = "kvm"
    #: QEMU's translator, Tiny Code Generator.
    TCG = "tcg"

    @property
    def domain_type(self) -> str:
        """Libvirt's ``<domain type=>`` word."""
        return "kvm" if self is Accelerator.KVM else "qemu"

    @property
    def virtualization(self) -> str:
        """Kind of virtualisation, in words for people."""
        return "hardware-assisted" if self is Accelerator.KVM else "emulation"


class DiskFormat(Choice):
    """Formats of disk images, by Glance's ``disk_format`` words."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vhd"
    VHDX = "vhdx"
    ISO = "iso"


class FileSystem(Choice):
    """File systems of ephemeral disks, by nova's ``guest_format`` words."""

    EXT2 = "ext2"
    EXT3 = "ext3"
    EXT4 = "ext4"
    XFS = "xfs"
    VFAT = "vfat"
    NTFS = "ntfs"


class SnapshotFormat(Choice):
    """Formats of snapshots: formats that qemu-img makes, with Glance's words."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VDI = "vdi"
    VMDK = "vmdk"

    @classmethod
    def of(cls, path: Path) -> SnapshotFormat:
        """Return the format of a file by its suffix: ``.img`` means raw, and no suffix qcow2.

        :raises InvalidParameter: if the suffix is another one.
        """
        suffixes = {f".{member}": member for member in cls} | {".img": cls.RAW, "": cls.QCOW2}
        try:
            return suffixes[path.suffix.lower()]
        except KeyError:
            known = ", ".join(sorted(filter(None, suffixes)))
            accepted = f"a name that ends in {known}, or any name with --image-format"
            raise exceptions.InvalidParameter("target", str(path), accepted) from None


class DiskBus(Choice):
    """Buses for disks, by libvirt's ``<target bus=>`` words; the last four are emulated."""

    VIRTIO = "virtio"
    #: On a SCSI controller, see :class:`ScsiModel`.
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"
    USB = "usb"
    #: The bus of floppy disks, and of no other disks.
    FDC = "fdc"

    @classmethod
    def words(cls) -> list[str]:
        """Return the words of the buses of disks and CD-ROMs."""
        return [str(bus) for bus in cls if bus is not cls.FDC]


class SourceKind(Choice):
    """Kinds of the sources of disks, by libvirt's ``<disk type=>`` words."""

    FILE = "file"
    BLOCK = "block"
    NETWORK = "network"
    MOUNT = "mount"


class CacheMode(Choice):
    """The host's cache of a disk, by libvirt's ``<driver cache=>`` words."""

    #: QEMU's choice.
    DEFAULT = "default"
    NONE = "none"
    WRITETHROUGH = "writethrough"
    WRITEBACK = "writeback"
    DIRECTSYNC = "directsync"
    #: The guest's flushes have no effect.
    UNSAFE = "unsafe"


class ScsiModel(Choice):
    """SCSI controllers, by libvirt's ``<controller type='scsi' model=>`` words."""

    VIRTIO = "virtio-scsi"
    #: VMware's paravirtual controller.
    PVSCSI = "vmpvscsi"
    #: LSI's 53C895A, SAS 1068 and SAS 1078 (MegaRAID).
    LSILOGIC = "lsilogic"
    LSISAS1068 = "lsisas1068"
    LSISAS1078 = "lsisas1078"
    #: The controller of IBM's Power machines.
    IBMVSCSI = "ibmvscsi"


class NicModel(Choice):
    """Network card models, by libvirt's ``<interface><model type=>`` words."""

    VIRTIO = "virtio"
    E1000 = "e1000"
    E1000E = "e1000e"
    IGB = "igb"
    RTL8139 = "rtl8139"
    NE2K_PCI = "ne2k_pci"
    PCNET = "pcnet"
    VMXNET3 = "vmxnet3"
    #: The card of IBM's Power machines.
    SPAPR_VLAN = "spapr-vlan"


class VideoModel(Choice):
    """Display adapters, by libvirt's ``<video><model type=>`` words."""

    VIRTIO = "virtio"
    VGA = "vga"
    CIRRUS = "cirrus"
    QXL = "qxl"
    BOCHS = "bochs"
    #: VMware's SVGA II.
    VMVGA = "vmvga"
    NONE = "none"


class InputModel(Choice):
    """Keyboard and pointer, by libvirt's ``<input bus=>`` words."""

    VIRTIO = "virtio"
    USB = "usb"
    #: All machines of the PC family have a PS/2 keyboard and mouse.
    PS2 = "ps2"
    NONE = "none"


class UsbModel(Choice):
    """USB controllers, by libvirt's ``<controller type='usb' model=>`` words."""

    QEMU_XHCI = "qemu-xhci"
    NEC_XHCI = "nec-xhci"
    NONE = "none"


class SoundModel(Choice):
    """Sound cards, by libvirt's ``<sound model=>`` words."""

    ICH9 = "ich9"
    ICH6 = "ich6"
    AC97 = "ac97"
    ES1370 = "es1370"
    USB = "usb"
    SB16 = "sb16"
    VIRTIO = "virtio"
    #: The speaker of a PC.
    PCSPK = "pcspk"


class WatchdogModel(Choice):
    """Watchdogs, by libvirt's ``<watchdog model=>`` words."""

    I6300ESB = "i6300esb"
    DIAG288 = "diag288"


class WatchdogAction(Choice):
    """Action of a watchdog that the guest no longer feeds, by libvirt's words."""

    NONE = "none"
    PAUSE = "pause"
    POWEROFF = "poweroff"
    RESET = "reset"


class OsType(Choice):
    """Operating system of a guest."""

    LINUX = "linux"
    WINDOWS = "windows"


class ConsoleModel(Choice):
    """Device of the serial console, by libvirt's ``<target type=>`` words."""

    #: The machine's own port, where a kernel writes before it loads drivers.
    SERIAL = "serial"
    VIRTIO = "virtio"
    #: The service processor's console, on s390x.
    SCLP = "sclp"


class VirtioForm(Choice):
    """Interface of virtio devices on PCI, by libvirt's ``<... model=>`` words."""

    #: By the slot: the modern interface on PCI Express, both interfaces on plain PCI.
    VIRTIO = "virtio"
    #: Both interfaces, for guests whose drivers are older than virtio 1.0.
    TRANSITIONAL = "virtio-transitional"
    #: The modern interface only.
    NON_TRANSITIONAL = "virtio-non-transitional"


class Firmware(Choice):
    """The program that starts the boot loader."""

    #: The machine's own firmware: a BIOS on PCs, Open Firmware on pseries.
    BIOS = "bios"
    UEFI = "uefi"


class InterfaceKind(Choice):
    """Kind of port that an interface is plugged into."""

    #: Words for the source of an interface; None for a kind without a source and a host device.
    thing: str | None
    #: Whether a switch has a port for the interface; the port needs a name for the device.
    switched: bool

    def __new__(cls, word: str, thing: str | None = None, switched: bool = False) -> InterfaceKind:
        """Return the kind with that word."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.thing, kind.switched = thing, switched
        return kind

    #: QEMU's user-mode stack: DHCP and outgoing traffic, without privileges.
    USER = "user"
    #: A virtual network that libvirt manages.
    NETWORK = "network", "network"
    #: An existing bridge device of the host.
    BRIDGE = "bridge", "bridge"
    #: A port of a bridge of Open vSwitch.
    OVS = "ovs", "bridge of Open vSwitch", True


class Protocol(Choice):
    """Protocol of a published port."""

    TCP = "tcp"
    UDP = "udp"


class PowerState(Choice):
    """Power state of a guest."""

    RUNNING = "running"
    PAUSED = "paused"
    #: The memory is on disk; resume continues from there.
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    CRASHED = "crashed"


#: States with an emulator; states with a system that can continue; states with neither.
ACTIVE = frozenset({PowerState.RUNNING, PowerState.PAUSED})
ALIVE = ACTIVE | {PowerState.SUSPENDED}
OFF = frozenset({PowerState.STOPPED, PowerState.CRASHED})


class StateReason(Choice):
    """The reason for a power state, in words for people."""

    #: QEMU cannot write to a disk, for example because the host's disk is full.
    IO_ERROR = "I/O error"
    WATCHDOG = "watchdog"
    CRASHED = "crashed"
    PANICKED = "kernel panic"
    USER = "paused on request"
    ASLEEP = "asleep"
    STARTING = "starting"
    SHUTTING_DOWN = "shutting down"
    SAVING = "memory is being saved"
    DUMPING = "memory is being dumped"
    MIGRATION = "migration"
    MIGRATION_FAILED = "failed migration"
    SNAPSHOT = "snapshot"
    OPERATION_FAILED = "failed operation of libvirt"
    SHUT_DOWN = "shut down by the guest"
    POWERED_OFF = "powered off"
    START_FAILED = "failed start"
    #: The guest runs, is suspended, or libvirt does not know the reason.
    NONE = ""


#: Reasons that are faults.
FAULTS = frozenset(
    {
        StateReason.IO_ERROR,
        StateReason.WATCHDOG,
        StateReason.CRASHED,
        StateReason.PANICKED,
        StateReason.MIGRATION_FAILED,
        StateReason.OPERATION_FAILED,
    }
)


class RebootKind(Choice):
    """Kind of a reboot."""

    #: Ask the guest to reboot; after the deadline, reboot hard.
    SOFT = "soft"
    #: Power off, rebuild the domain from the stored description, power on.
    HARD = "hard"


class Quiesce(Choice):
    """Whether the guest's agent freezes the file systems during a snapshot."""

    #: Do not freeze: the copy is like a disk after a loss of power.
    NEVER = "never"
    #: Freeze if an agent answers and can freeze.
    TRY = "try"
    #: Freeze, or make no snapshot.
    REQUIRE = "require"
