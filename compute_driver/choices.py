# SPDX-License-Identifier: Apache-2.0
"""The words that guests are described with, and what is done with them: closed sets of choices."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TypeVar

from compute_driver import exceptions

_E = TypeVar("_E", bound="Choice")


class Choice(str, enum.Enum):
    """A closed set of words, written as themselves."""

    __str__ = str.__str__

    @classmethod
    def parse(cls: type[_E], field: str, value: str) -> _E:
        """Return the member that *value* spells.

        :param field: the parameter's name, for the error.
        :param value: a word, in any case.
        :raises InvalidParameter: if it is none of the members; names them all.
        """
        try:
            return cls(value.lower())
        except ValueError:
            raise exceptions.InvalidParameter(field, value, [str(m) for m in cls]) from None


class VirtType(Choice):
    """What the operator asks for, by option ``virt_type``."""

    KVM = "kvm"
    QEMU = "qemu"


class Accelerator(Choice):
    """What runs the guest's instructions."""

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
        """What kind of virtualisation it is, in words for people."""
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


class SnapshotFormat(Choice):
    """Formats of snapshots: what qemu-img makes and calls as Glance does."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VDI = "vdi"
    VMDK = "vmdk"

    @classmethod
    def of(cls, path: Path) -> SnapshotFormat:
        """Return the format that a file's suffix tells: qcow2 if none, raw also of ``.img``."""
        suffix = path.suffix.lower().removeprefix(".")
        return {"img": cls.RAW, **{str(each): each for each in cls}}.get(suffix, cls.QCOW2)


class DiskBus(Choice):
    """Buses for disks, by libvirt's ``<target bus=>`` words; the last three are emulated."""

    VIRTIO = "virtio"
    #: By a virtio-scsi controller.
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"
    USB = "usb"


class ScsiModel(Choice):
    """SCSI controllers, by libvirt's ``<controller type='scsi' model=>`` words."""

    VIRTIO = "virtio-scsi"
    #: VMware's paravirtual one.
    PVSCSI = "vmpvscsi"
    #: LSI's 53C895A, SAS 1068 and SAS 1078 (MegaRAID).
    LSILOGIC = "lsilogic"
    LSISAS1068 = "lsisas1068"
    LSISAS1078 = "lsisas1078"
    #: The one of IBM's Power machines.
    IBMVSCSI = "ibmvscsi"


class NicModel(Choice):
    """Network card models, by libvirt's ``<interface><model type=>`` words."""

    VIRTIO = "virtio"
    E1000 = "e1000"
    E1000E = "e1000e"
    RTL8139 = "rtl8139"
    NE2K_PCI = "ne2k_pci"
    PCNET = "pcnet"
    VMXNET3 = "vmxnet3"


class VideoModel(Choice):
    """Display adapters, by libvirt's ``<video><model type=>`` words."""

    VIRTIO = "virtio"
    VGA = "vga"
    CIRRUS = "cirrus"
    QXL = "qxl"
    BOCHS = "bochs"
    NONE = "none"


class InputModel(Choice):
    """Keyboard and pointer, by libvirt's ``<input bus=>`` words."""

    VIRTIO = "virtio"
    USB = "usb"
    #: What machines of the PC family always have.
    PS2 = "ps2"
    NONE = "none"


class UsbModel(Choice):
    """USB controllers, by libvirt's ``<controller type='usb' model=>`` words."""

    QEMU_XHCI = "qemu-xhci"
    NEC_XHCI = "nec-xhci"
    NONE = "none"


class SoundModel(Choice):
    """Sound cards, by libvirt's ``<sound model=>`` words.

    Two of its words are left out: ``virtio``, for which it takes newer ones than supported, and
    ``pcspk``, for which libvirt 9.0 uses an option that QEMU 7.1 has dropped.
    """

    ICH9 = "ich9"
    ICH6 = "ich6"
    AC97 = "ac97"
    ES1370 = "es1370"
    USB = "usb"
    SB16 = "sb16"


class WatchdogModel(Choice):
    """Watchdogs, by libvirt's ``<watchdog model=>`` words."""

    I6300ESB = "i6300esb"
    DIAG288 = "diag288"


class WatchdogAction(Choice):
    """What becomes of a guest that stops feeding its watchdog, by libvirt's words."""

    NONE = "none"
    PAUSE = "pause"
    POWEROFF = "poweroff"
    RESET = "reset"


class OsType(Choice):
    """The kind of system that runs in the guest."""

    LINUX = "linux"
    WINDOWS = "windows"


class ConsoleModel(Choice):
    """What the first serial console hangs on, by libvirt's ``<target type=>`` words."""

    #: The machine's own port; a kernel writes there before it has loaded any driver.
    SERIAL = "serial"
    VIRTIO = "virtio"
    #: The service processor's console, on s390x.
    SCLP = "sclp"


class VirtioForm(Choice):
    """How virtio devices on PCI speak, by libvirt's ``<... model=>`` words."""

    #: As the slot suggests: the modern interface on PCI Express, both on plain PCI.
    VIRTIO = "virtio"
    #: Both interfaces, for guests whose drivers are older than virtio 1.0.
    TRANSITIONAL = "virtio-transitional"
    #: The modern interface only.
    NON_TRANSITIONAL = "virtio-non-transitional"


class Firmware(Choice):
    """What starts the boot loader."""

    #: What the machine itself brings: on PCs a BIOS, Open Firmware on pseries.
    BIOS = "bios"
    UEFI = "uefi"


class InterfaceKind(Choice):
    """What an interface is plugged into."""

    #: In words, what the source names; None: the kind has no source and no end on the host.
    thing: str | None
    #: Whether a switch has a port for the interface: then the device has a name in any case.
    switched: bool

    def __new__(cls, word: str, thing: str | None = None, switched: bool = False) -> InterfaceKind:
        """Return the kind with that word."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.thing, kind.switched = thing, switched
        return kind

    #: QEMU's own user-mode stack: DHCP and outgoing traffic, no privilege needed.
    USER = "user"
    #: A virtual network that libvirt manages.
    NETWORK = "network", "network"
    #: A bridge device that the host already has.
    BRIDGE = "bridge", "bridge"
    #: A port of a bridge of Open vSwitch.
    OVS = "ovs", "bridge of Open vSwitch", True


class PowerState(Choice):
    """What a guest is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    #: Memory saved to disk; resume continues where it was.
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    CRASHED = "crashed"


#: Those of a guest that has an emulator, that has a system to go on with, and that has neither.
ACTIVE = frozenset({PowerState.RUNNING, PowerState.PAUSED})
ALIVE = ACTIVE | {PowerState.SUSPENDED}
OFF = frozenset({PowerState.STOPPED, PowerState.CRASHED})


class RebootKind(Choice):
    """How a guest is rebooted."""

    #: Ask the guest; after the deadline, hard.
    SOFT = "soft"
    #: Power off, rebuild the domain from the stored description, power on.
    HARD = "hard"


class Quiesce(Choice):
    """Whether file systems are frozen, by the guest's agent, while their state is taken."""

    #: The copy is like a disk after a loss of power.
    NEVER = "never"
    #: If an agent answers, and if it can.
    TRY = "try"
    REQUIRE = "require"
