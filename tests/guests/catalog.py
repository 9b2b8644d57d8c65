# SPDX-License-Identifier: Apache-2.0
"""What is known of each guest architecture, and what goes into each flavour."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Architecture:
    """A guest architecture, as Debian knows it."""

    debian: str
    console: str
    #: Kernel packages by kind. The cloud kernel boots at once but knows few devices.
    kernels: Mapping[str, str]
    #: Packages of the boot loaders for disk and ISO images; none: no such images.
    boot_loaders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flavour:
    """What a guest is made of."""

    #: Key in ``Architecture.kernels``.
    kernel: str
    modules: tuple[str, ...]
    #: Patterns of the files wanted from each package.
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(
        debian="amd64",
        console="ttyS0",
        kernels={"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"},
        boot_loaders=("isolinux", "syslinux", "syslinux-common", "systemd-boot-efi"),
    ),
}

# The self-tests of the kernel's cryptography take half a second of an emulated boot.
KERNEL_OPTIONS = "quiet cryptomgr.notests mitigations=off"

_BUSES = ("virtio_pci", "virtio_mmio", "virtio_console", "button", "evdev", "pvpanic-pci")
_DISKS = ("virtio_blk", "virtio_scsi", "ata_piix", "ata_generic", "nvme", "sd_mod", "sr_mod")
_FILE_SYSTEMS = ("ext4", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8", "efivarfs")
_OTHERS = ("virtio_net", "vmxnet3", "virtio_rng", "virtio_balloon", "virtio_mem", "virtiofs")
_BASIC_MODULES = (*_BUSES, *_DISKS, *_FILE_SYSTEMS, *_OTHERS, "virtio_input")

_OLD_DISKS = ("ahci", "sym53c8xx", "mptspi", "mptsas", "megaraid_sas", "crc32c_generic")
_USB = ("uhci-hcd", "ehci-pci", "xhci-pci", "usb-storage", "uas", "usbhid", "hid-generic")
_OLD_NETWORK = ("e1000", "e1000e", "8139cp", "8139too", "ne2k-pci", "pcnet32")
_LEGACY_MODULES = (*_BASIC_MODULES, *_OLD_DISKS, *_USB, *_OLD_NETWORK, "i6300esb")

_LIBRARY = ("*/lib*.so.*",)

#: The flavours of guests. ``legacy`` takes twice as long to boot, for the sake of SATA, USB
#: and the network cards of old.
FLAVOURS: Mapping[str, Flavour] = {
    "basic": Flavour(kernel="cloud", modules=_BASIC_MODULES),
    "legacy": Flavour(kernel="generic", modules=_LEGACY_MODULES),
    "agent": Flavour(
        kernel="cloud",
        modules=_BASIC_MODULES,
        files={
            "dropbear-bin": ("usr/sbin/dropbear",),
            "qemu-guest-agent": ("usr/sbin/qemu-ga",),
            "libc6": ("*/ld-linux*", "*/libc.so.6", "*/libm.so.6", "*/libresolv.so.2"),
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
        },
    ),
}

BUSYBOX = "busybox-static"
