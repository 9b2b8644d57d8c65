# SPDX-License-Identifier: Apache-2.0
"""Disk and ISO images that boot without help."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.guests import fat
from tests.guests.loaders import Syslinux, Uefi
from tests.guests.tools import run

_MIB = 1 << 20
_DISK_SIZE = 64 * _MIB
_PARTITION_START = _MIB
_EFI_SYSTEM_PARTITION = 0xEF
_LINUX_PARTITION = 0x83
_SPARE = 4 * _MIB

DISK_LABEL = "CDGUEST"
ISO_LABEL = "CDGUEST-ISO"


@dataclass(frozen=True)
class Payload:
    """What an image boots, and the boot loaders with the folder of their unpacked packages."""

    kernel: Path
    initrd: Path
    cmdline: str
    bios: Syslinux | None
    uefi: Uefi | None
    loaders: Path

    def loader(self, name: str) -> Path:
        """Return a file of the boot loaders' packages.

        :param name: its path below ``/usr``
        """
        (path,) = self.loaders.glob(f"*/usr/{name}")
        return path

    def setting(self, text: str, target: Path) -> Path:
        """Write a boot loader's setting to a file, and return the file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.format(cmdline=self.cmdline))
        return target

    def files(self, scratch: Path) -> dict[str, Path]:
        """Return the files for the file system of the kernel, by their paths in it."""
        content = {"vmlinuz": self.kernel, "initrd": self.initrd}
        if self.uefi:
            content |= {name: self.loader(source) for name, source in self.uefi.files.items()}
            settings = self.uefi.settings.items()
            content |= {name: self.setting(text, scratch / name) for name, text in settings}
        return content


@dataclass(frozen=True)
class Root:
    """A root file system, ext4, in the last partition of a disk: its files, label and size."""

    tree: Path
    label: str
    size: int


def disk(payload: Payload, target: Path, scratch: Path, root: Root | None = None) -> None:
    """Make a whole disk, qcow2, that boots with the payload's boot loaders.

    :param payload: what the image boots
    :param target: the image to make
    :param scratch: folder for intermediate files
    :param root: of the disk, if its initrd is not all
    :raises: GuestBuildError
    """
    raw = scratch / "disk.raw"
    code = payload.loader("lib/syslinux/mbr/mbr.bin").read_bytes() if payload.bios else b""
    partitions = [_partition(_EFI_SYSTEM_PARTITION, _PARTITION_START, _DISK_SIZE)]
    if root:
        partitions.append(_partition(_LINUX_PARTITION, _DISK_SIZE, _DISK_SIZE + root.size))
    raw.write_bytes(_master_boot_record(code, partitions))
    os.truncate(raw, _DISK_SIZE)
    fat.make(raw, DISK_LABEL, _PARTITION_START)
    content = payload.files(scratch)
    if payload.bios:
        content["syslinux.cfg"] = payload.setting(payload.bios.settings, scratch / "syslinux.cfg")
    fat.fill(raw, content, _PARTITION_START)
    if payload.bios:
        syslinux = payload.loader("bin/syslinux")
        run([syslinux, "--install", "--offset", str(_PARTITION_START), raw])
    if root:
        os.truncate(raw, _DISK_SIZE + root.size)
        place = ["-E", f"offset={_DISK_SIZE}", "-d", root.tree, raw, f"{root.size // 1024}k"]
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", root.label, *place])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target])


def iso(payload: Payload, target: Path, scratch: Path) -> None:
    """Make an ISO image that boots with the payload's boot loaders.

    :param payload: what the image boots
    :param target: the image to make
    :param scratch: folder for intermediate files
    :raises: GuestBuildError
    """
    root = scratch / "iso"
    root.mkdir()
    (root / "vmlinuz").hardlink_to(payload.kernel)
    (root / "initrd").hardlink_to(payload.initrd)
    boot = []
    if payload.bios:
        boot += _isolinux(payload, payload.bios, root)
    if payload.uefi:
        boot += ["-eltorito-alt-boot"] * bool(boot) + _efi_image(payload, root, scratch)
    run(["xorriso", "-as", "mkisofs", "-V", ISO_LABEL, "-R", "-o", target, *boot, root])


def _isolinux(payload: Payload, bios: Syslinux, root: Path) -> list[str]:
    """Put ISOLINUX into an ISO image's tree, and return the options that make the image boot."""
    folder = root / "isolinux"
    folder.mkdir()
    for name in ("lib/ISOLINUX/isolinux.bin", "lib/syslinux/modules/bios/ldlinux.c32"):
        source = payload.loader(name)
        (folder / source.name).write_bytes(source.read_bytes())
    payload.setting(bios.settings, folder / "isolinux.cfg")
    image = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"]
    return [*image, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]


def _efi_image(payload: Payload, root: Path, scratch: Path) -> list[str]:
    """Put a FAT file system for UEFI into an ISO image's tree; return options as above."""
    content = payload.files(scratch)
    image = root / "efi.img"
    image.touch()
    os.truncate(image, _round_up(_sizes(content.values()) + _SPARE, _MIB))
    fat.make(image, ISO_LABEL)
    fat.fill(image, content)
    return ["-e", "efi.img", "-no-emul-boot"]


def _master_boot_record(code: bytes, partitions: Sequence[bytes]) -> bytes:
    """Return boot code and a table of partitions."""
    identifier = b"CDGU\0\0"
    return code.ljust(440, b"\0") + identifier + b"".join(partitions).ljust(64, b"\0") + b"\x55\xaa"


def _partition(kind: int, start: int, end: int) -> bytes:
    """Return the entry of a partition in the table; the first partition of a disk is active."""
    # Cylinders, heads and sectors at their limits mean: use the sector numbers.
    chs = b"\xfe\xff\xff"
    active = 0x80 if start == _PARTITION_START else 0
    numbers = (start // fat.SECTOR, (end - start) // fat.SECTOR)
    return bytes([active, *chs, kind, *chs]) + b"".join(n.to_bytes(4, "little") for n in numbers)


def _sizes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
