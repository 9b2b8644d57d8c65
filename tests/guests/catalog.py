# SPDX-License-Identifier: Apache-2.0
"""The architectures of test guests, and the content of their flavours."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.guests.loaders import SHIM_GRUB_X64, Syslinux, Uefi, systemd_boot


@dataclass(frozen=True)
class Architecture:
    """A guest architecture, as Debian knows it.

    :param debian: Debian's name of the architecture
    :param console: the first serial console
    :param kernel: package of the kernel with all drivers
    :param cloud_kernel: package of the kernel that boots fast but has few drivers, if any
    :param suites: Debian's suites that have the architecture, best first; none: all suites
    :param lacks: modules that the kernel lacks, because the hardware does not exist
    :param bios: boot loader for BIOS
    :param uefi: boot loader for UEFI
    :param secure_boot: signed boot loader for UEFI
    :param loaders: Debian's name of the architecture that the boot loaders are of
    """

    debian: str
    console: str
    kernel: str
    cloud_kernel: str | None = None
    suites: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    bios: Syslinux | None = None
    uefi: Uefi | None = None
    secure_boot: Uefi | None = None
    loaders: str | None = None


@dataclass(frozen=True)
class Flavour:
    """The content of a guest.

    :param modules: names of kernel modules
    :param cloud: whether the cloud kernel has all drivers
    :param files: patterns of files, by package
    :param secure_boot: whether its disk boots where UEFI refuses unsigned boot loaders
    :param options: more of the kernel's options
    """

    modules: tuple[str, ...]
    cloud: bool = True
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secure_boot: bool = False
    options: str = ""


_NO_PC = frozenset({"button", "pvpanic-pci", "virtio_mem", "vmw_pvscsi", "vmxnet3", "i6300esb"})
_NO_GPIO = frozenset({"gpio_keys", "gpio_pl061"})
_NO_ISA = frozenset({"8139cp", "8139too", "ne2k-pci", "uhci-hcd"})

ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(
        debian="amd64",
        console="ttyS0",
        kernel="linux-image-amd64",
        cloud_kernel="linux-image-cloud-amd64",
        lacks=_NO_GPIO,
        bios=Syslinux(),
        uefi=systemd_boot("x64"),
        secure_boot=SHIM_GRUB_X64,
    ),
    "i686": Architecture(
        debian="i386",
        console="ttyS0",
        kernel="linux-image-686",
        suites=("bookworm",),  # Debian's last release with this kernel
        lacks=_NO_GPIO | {"virtio_mem"},
        bios=Syslinux(),
        loaders="amd64",
    ),
    "aarch64": Architecture(
        debian="arm64",
        console="ttyAMA0",
        kernel="linux-image-arm64",
        lacks=frozenset({"pvpanic-pci", "uhci-hcd", "vmw_pvscsi"}),
        uefi=systemd_boot("aa64"),
    ),
    "armv7l": Architecture(
        debian="armhf",
        console="ttyAMA0",
        kernel="linux-image-armmp-lpae",
        lacks=_NO_PC | {"megaraid_sas", "uhci-hcd"},
        uefi=systemd_boot("arm"),
    ),
    "ppc64le": Architecture(
        debian="ppc64el",
        console="hvc0",
        kernel="linux-image-powerpc64le",
        lacks=_NO_PC | _NO_GPIO | {"efivarfs"},
    ),
    "s390x": Architecture(
        debian="s390x",
        console="ttysclp0",
        kernel="linux-image-s390x",
        lacks=_NO_PC | _NO_GPIO | _NO_ISA | {"efivarfs", "ehci-pci"},
    ),
    "riscv64": Architecture(
        debian="riscv64",
        console="ttyS0",
        kernel="linux-image-riscv64",
        suites=("trixie", "stable", "forky"),
        lacks=_NO_PC - {"button"} | _NO_GPIO | _NO_ISA,
    ),
}

# The self-tests of the kernel's cryptography take half a second of an emulated boot. A busy host
# emulates the timer of a PC slowly, and the kernel's check would take the timer for broken.
KERNEL_OPTIONS = "quiet cryptomgr.notests mitigations=off no_timer_check"

# Open vSwitch in user space passes frames on unchanged: the guest makes and splits them.
OPEN_VSWITCH_OPTIONS = "virtio_net.csum=0 virtio_net.gso=0"

_BUSES = ("virtio_pci", "virtio_mmio", "virtio_console", "evdev", "pvpanic-pci")
_BUTTONS = ("button", "gpio_keys", "gpio_pl061")
_DISKS = ("virtio_blk", "virtio_scsi", "ata_piix", "ata_generic", "nvme", "sd_mod", "sr_mod")
_FILE_SYSTEMS = (
    "ext4",
    "crc32c_generic",
    "isofs",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "efivarfs",
)
_OTHERS = ("virtio_net", "vmxnet3", "virtio_rng", "virtio_balloon", "virtio_mem", "virtiofs")
_BASIC_MODULES = (*_BUSES, *_BUTTONS, *_DISKS, *_FILE_SYSTEMS, *_OTHERS, "virtio_input")

_OLD_DISKS = ("ahci", "sym53c8xx", "mptspi", "mptsas", "megaraid_sas", "vmw_pvscsi")
_USB = ("uhci-hcd", "ehci-pci", "xhci-pci", "usb-storage", "uas", "usbhid", "hid-generic")
_OLD_NETWORK = ("e1000", "e1000e", "8139cp", "8139too", "ne2k-pci", "pcnet32")
_LEGACY_MODULES = (*_BASIC_MODULES, *_OLD_DISKS, *_USB, *_OLD_NETWORK, "i6300esb")

_LIBRARY = ("*/lib*.so.*",)

# An SSH server and QEMU's guest agent, with their libraries.
_SERVERS: Mapping[str, tuple[str, ...]] = {
    "dropbear-bin": ("usr/sbin/dropbear", "usr/bin/dropbearkey"),
    "qemu-guest-agent": ("usr/sbin/qemu-ga",),
    "libatomic1": _LIBRARY,
    "libc6": ("*/ld*.so.*", "*/libc.so.6", "*/libm.so.6", "*/libresolv.so.2"),
    "libcap2": _LIBRARY,
    "libcrypt1": _LIBRARY,
    "libglib2.0-0": ("*/libglib-2.0.so.*", "*/libgmodule-2.0.so.*"),
    "libgmp10": _LIBRARY,
    "libnuma1": _LIBRARY,
    "libpcre2-8-0": _LIBRARY,
    "libtomcrypt1": _LIBRARY,
    "libtommath1": _LIBRARY,
    "libudev1": _LIBRARY,
    "liburing2": _LIBRARY,
    "zlib1g": _LIBRARY,
}

_CLOUD = f"guest.metadata {OPEN_VSWITCH_OPTIONS}"

#: The flavours of guests. ``legacy`` has drivers of SATA, USB and old network cards, and boots in
#: twice the time. ``cloud`` asks the metadata service, which only exists in a cloud; its kernel has
#: no driver of SATA.
FLAVOURS: Mapping[str, Flavour] = {
    "basic": Flavour(_BASIC_MODULES),
    "secure": Flavour(_BASIC_MODULES, secure_boot=True),
    "legacy": Flavour(_LEGACY_MODULES, cloud=False),
    "agent": Flavour(_BASIC_MODULES, files=_SERVERS),
    "cloud": Flavour(_BASIC_MODULES, files=_SERVERS, options=_CLOUD),
    "cloud-sata": Flavour((*_BASIC_MODULES, "ahci"), cloud=False, files=_SERVERS, options=_CLOUD),
}

BUSYBOX = "busybox-static"
