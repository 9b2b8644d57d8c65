# SPDX-License-Identifier: Apache-2.0
"""Images that boot by themselves: SYSLINUX for BIOS, systemd-boot for UEFI, both without menu."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.guests import fat
from tests.guests.tools import run

_MIB = 1 << 20
_DISK_SIZE = 64 * _MIB
_PARTITION_START = _MIB
_EFI_SYSTEM_PARTITION = 0xEF
_SPARE = 4 * _MIB

DISK_LABEL = "CDGUEST"
ISO_LABEL = "CDGUEST-ISO"


@dataclass(frozen=True)
class Payload:
    """What a boot loader loads, and where the unpacked boot loaders are."""

    kernel: Path
    initrd: Path
    cmdline: str
    loaders: Path

    def loader(self, name: str) -> Path:
        """A file of the boot loaders' packages.

        :param name: its path below ``/usr``
        """
        (found,) = self.loaders.glob(f"*/usr/{name}")
        return found


def disk(payload: Payload, target: Path, scratch: Path) -> None:
    """Makes a whole disk, qcow2, that boots with BIOS and with UEFI.

    :param payload: what it boots
    :param target: the image to make
    :param scratch: folder for intermediate files
    :raises: GuestBuildError
    """
    raw = scratch / "disk.raw"
    raw.write_bytes(_master_boot_record(payload.loader("lib/syslinux/mbr/mbr.bin")))
    os.truncate(raw, _DISK_SIZE)
    fat.make(raw, DISK_LABEL, _PARTITION_START)
    settings = _write(scratch / "syslinux.cfg", _syslinux(payload))
    content = {**_uefi(payload, scratch), "syslinux.cfg": settings}
    fat.fill(raw, content, _PARTITION_START)
    syslinux = payload.loader("bin/syslinux")
    run([syslinux, "--install", "--offset", str(_PARTITION_START), raw])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target])


def iso(payload: Payload, target: Path, scratch: Path) -> None:
    """Makes an ISO image that boots with BIOS and with UEFI.

    :param payload: what it boots
    :param target: the image to make
    :param scratch: folder for intermediate files
    :raises: GuestBuildError
    """
    root = scratch / "iso"
    root.mkdir()
    content = _uefi(payload, scratch)
    efi = root / "efi.img"
    efi.touch()
    os.truncate(efi, _round_up(_sizes(content.values()) + _SPARE, _MIB))
    fat.make(efi, ISO_LABEL)
    fat.fill(efi, content)
    isolinux = root / "isolinux"
    isolinux.mkdir()
    for name in ("lib/ISOLINUX/isolinux.bin", "lib/syslinux/modules/bios/ldlinux.c32"):
        source = payload.loader(name)
        (isolinux / source.name).write_bytes(source.read_bytes())
    (root / "vmlinuz").hardlink_to(payload.kernel)
    (root / "initrd").hardlink_to(payload.initrd)
    _write(isolinux / "isolinux.cfg", _syslinux(payload))
    bios = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"]
    bios += ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    uefi = ["-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot"]
    run(["xorriso", "-as", "mkisofs", "-V", ISO_LABEL, "-R", "-o", target, *bios, *uefi, root])


def _uefi(payload: Payload, scratch: Path) -> dict[str, Path]:
    """The files of a FAT file system from which UEFI boots, by its removable media path."""
    entry = f"title guest\nlinux /vmlinuz\ninitrd /initrd\noptions {payload.cmdline}\n"
    return {
        "vmlinuz": payload.kernel,
        "initrd": payload.initrd,
        "EFI/BOOT/BOOTX64.EFI": payload.loader("lib/systemd/boot/efi/systemd-bootx64.efi"),
        "loader/loader.conf": _write(scratch / "loader.conf", "timeout 0\neditor no\n"),
        "loader/entries/guest.conf": _write(scratch / "guest.conf", entry),
    }


def _syslinux(payload: Payload) -> str:
    return (
        "DEFAULT guest\nPROMPT 0\nTIMEOUT 0\nLABEL guest\n"
        f" LINUX /vmlinuz\n INITRD /initrd\n APPEND {payload.cmdline}\n"
    )


def _master_boot_record(code: Path) -> bytes:
    """Boot code and a table of one active partition that fills the disk."""
    start = _PARTITION_START // fat.SECTOR
    length = _DISK_SIZE // fat.SECTOR - start
    # Cylinders, heads and sectors at their limits: "use the sector numbers".
    chs = b"\xfe\xff\xff"
    partition = bytes([0x80, *chs, _EFI_SYSTEM_PARTITION, *chs])
    partition += start.to_bytes(4, "little") + length.to_bytes(4, "little")
    identifier = b"CDGU\0\0"
    return code.read_bytes().ljust(440, b"\0") + identifier + partition + bytes(48) + b"\x55\xaa"


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _sizes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
