# SPDX-License-Identifier: Apache-2.0
"""What a guest owns on disk: every file, its format and where the guest sees it.

Pure: nothing is read or made here.  The same guest always has the same layout, so that a stored
guest's domain can be built again at any time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compute_driver.choices import DiskBus, DiskFormat
from compute_driver.guest import DirectBoot, Disk, Guest, Image, Rescue
from compute_driver.hardware.description import Drives

CONSOLE_LOG = "console.log"

#: XML of a domain that is not there: of kept files, or of what a guest was before its resize.
DESCRIPTION = "domain.xml"

#: How the names of all files begin that are there for a rescue only.
RESCUE_PREFIX = "rescue-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskFile:
    """One file that the guest sees as a disk.

    :param role: ``root``, ``installer``, ``ephemeral0`` (and so on), ``swap``,
        ``config-drive`` or ``rescue``.
    :param path: the file, absolute.
    :param format: ``qcow2`` or ``raw``.
    :param size_bytes: size that the guest sees; 0 means as large as its content.
    :param bus: where it is attached.
    :param device: ``disk`` or ``cdrom``, by libvirt's ``<disk device=>`` words.
    :param readonly: whether the guest may only read it.
    :param boot_order: place among the devices to boot from, 1 the first; None means never.
    """

    role: str
    path: Path
    format: DiskFormat
    size_bytes: int
    bus: DiskBus
    device: str = "disk"
    readonly: bool = False
    boot_order: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """All files of one guest.

    :param directory: holds them all, and nothing of anybody else.
    :param disks: in the guest's order.
    :param kernel: kernel for direct boot.
    :param ramdisk: initial ramdisk for direct boot.
    :param nvram: UEFI's variables; None with any other firmware.
    :param console_log: what the guest wrote on its serial console.
    """

    directory: Path
    disks: tuple[DiskFile, ...]
    kernel: Path | None
    ramdisk: Path | None
    nvram: Path | None
    console_log: Path

    def disk(self, role: str) -> DiskFile | None:
        """Return the disk with that role, or None if the guest has none."""
        return next((disk for disk in self.disks if disk.role == role), None)


def plan(
    guest: Guest,
    directory: Path,
    drives: Drives,
    *,
    uefi: bool,
    disk_format: DiskFormat,
    rescue_format: DiskFormat = DiskFormat.QCOW2,
) -> Layout:
    """Lay out the files of a guest.

    :param directory: the guest's own directory, absolute.
    :param drives: the guest's drives and their buses.
    :param uefi: whether UEFI starts the guest.
    :param disk_format: ``qcow2`` or ``raw``, the format of the root disk.
    :param rescue_format: ``qcow2`` or ``raw``, the format of a rescue system's disk.
    """
    root_size = guest.root.size_bytes if guest.root else 0
    disks = [
        DiskFile(
            role="root",
            path=directory / root_disk(disk_format),
            format=disk_format,
            size_bytes=root_size,
            bus=bus,
            boot_order=2 if drives.installer else 1,
        )
        for bus in drives.root
    ]
    disks += [_iso("installer", directory, bus, boot_order=1) for bus in drives.installer]
    disks += [
        _data_disk(f"ephemeral{index}", disk, directory, bus)
        for index, (disk, bus) in enumerate(zip(guest.ephemerals, drives.ephemerals, strict=True))
    ]
    disks += [_data_disk("swap", guest.swap, directory, bus) for bus in drives.swap if guest.swap]
    if guest.config_drive is not None:
        disks += [_iso("config-drive", directory, bus) for bus in drives.config_drive]
    prefix = ""
    if guest.rescue is not None:
        prefix = RESCUE_PREFIX
        disks = _rescued(guest.rescue, disks, directory, drives, rescue_format)
    if guest.kernel is not None:
        # QEMU loads the kernel itself and boots from no disk.
        disks = [dataclasses.replace(disk, boot_order=None) for disk in disks]
    return Layout(
        directory=directory,
        disks=tuple(disks),
        kernel=directory / f"{prefix}kernel" if guest.kernel else None,
        ramdisk=directory / f"{prefix}ramdisk" if guest.kernel and guest.kernel.ramdisk else None,
        nvram=directory / "nvram.fd" if uefi else None,
        console_log=directory / CONSOLE_LOG,
    )


def _rescued(
    rescue: Rescue,
    disks: list[DiskFile],
    directory: Path,
    drives: Drives,
    disk_format: DiskFormat,
) -> list[DiskFile]:
    """Return a guest's disks and the disk that boots instead of them."""
    (bus,) = drives.rescue
    iso = rescue.image.format is DiskFormat.ISO
    disk = DiskFile(
        role="rescue",
        path=directory / (f"{RESCUE_PREFIX}system.iso" if iso else rescue_disk(disk_format)),
        format=DiskFormat.RAW if iso else disk_format,
        size_bytes=0,
        bus=bus,
        device="cdrom" if rescue.in_drive and bus is not DiskBus.VIRTIO else "disk",
        readonly=iso or rescue.in_drive,
        boot_order=1,
    )
    if rescue.config_drive is not None:
        drive = _iso("config-drive", directory, *drives.config_drive)
        drive = dataclasses.replace(drive, path=directory / f"{RESCUE_PREFIX}config-drive.iso")
        places = [each.role for each in disks]
        at = places.index("config-drive") if "config-drive" in places else len(disks)
        disks = [*disks[:at], drive, *disks[at + 1 :]]
    disks = [dataclasses.replace(each, boot_order=None) for each in disks]
    return [*disks, disk] if rescue.last else [disk, *disks]


def root_disk(disk_format: DiskFormat) -> str:
    """Return the name of a root disk."""
    return f"root.{disk_format}"


def rescue_disk(disk_format: DiskFormat) -> str:
    """Return the name of a rescue system's disk."""
    return f"{RESCUE_PREFIX}system.{disk_format}"


def boot_files(boot: DirectBoot | None, plan: Layout) -> list[tuple[Image, Path]]:
    """Return what is started directly, and where its files will be."""
    if boot is None:
        return []
    pairs = [(boot.kernel, plan.kernel), (boot.ramdisk, plan.ramdisk)]
    return [(image, path) for image, path in pairs if image is not None and path is not None]


def _data_disk(role: str, disk: Disk, directory: Path, bus: DiskBus) -> DiskFile:
    return DiskFile(
        role=role,
        path=directory / f"{role}.raw",
        format=DiskFormat.RAW,
        size_bytes=disk.size_bytes,
        bus=bus,
    )


def _iso(role: str, directory: Path, bus: DiskBus, *, boot_order: int | None = None) -> DiskFile:
    return DiskFile(
        role=role,
        path=directory / f"{role}.iso",
        format=DiskFormat.RAW,
        size_bytes=0,
        bus=bus,
        # There are no virtio CD-ROM drives; a read-only disk serves as well.
        device="disk" if bus is DiskBus.VIRTIO else "cdrom",
        readonly=True,
        boot_order=boot_order,
    )
