# SPDX-License-Identifier: Apache-2.0
"""The boot loaders of bootable images, which show no menu.

``{cmdline}`` in a setting stands for the kernel's command line; the kernel and the initrd are
``/vmlinuz`` and ``/initrd``.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Syslinux:
    """SYSLINUX for disks and ISOLINUX for ISO images; the program also runs on the host."""

    packages: tuple[str, ...] = ("isolinux", "syslinux", "syslinux-common")
    settings: str = (
        "DEFAULT guest\nPROMPT 0\nTIMEOUT 0\nLABEL guest\n"
        " LINUX /vmlinuz\n INITRD /initrd\n APPEND {cmdline}\n"
    )


@dataclass(frozen=True)
class Uefi:
    """The files that UEFI boots by its path for removable media, on a FAT file system.

    :param packages: Debian packages of the boot loader
    :param files: the packages' files below ``/usr``, by their path in the file system
    :param settings: texts, by their path in the file system
    """

    packages: tuple[str, ...]
    files: Mapping[str, str]
    settings: Mapping[str, str]


def systemd_boot(name: str) -> Uefi:
    """Return systemd-boot for an architecture.

    :param name: UEFI's name of the architecture, such as ``x64``
    """
    entry = "title guest\nlinux /vmlinuz\ninitrd /initrd\noptions {cmdline}\n"
    return Uefi(
        packages=("systemd-boot-efi",),
        files={f"EFI/BOOT/BOOT{name.upper()}.EFI": f"lib/systemd/boot/efi/systemd-boot{name}.efi"},
        settings={
            "loader/loader.conf": "timeout 0\neditor no\n",
            "loader/entries/guest.conf": entry,
        },
    )


#: A signed chain: Microsoft signs shim, shim knows Debian's key, Debian signs GRUB and kernels.
SHIM_GRUB_X64 = Uefi(
    packages=("shim-signed", "grub-efi-amd64-signed"),
    files={
        "EFI/BOOT/BOOTX64.EFI": "lib/shim/shimx64.efi.signed",
        "EFI/BOOT/grubx64.efi": "lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    },
    # The signed GRUB reads this file only.
    settings={"EFI/debian/grub.cfg": "linux /vmlinuz {cmdline}\ninitrd /initrd\nboot\n"},
)
