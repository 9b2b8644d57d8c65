# SPDX-License-Identifier: Apache-2.0
"""What a guest owns on disk: every file, its format and where the guest sees it.

Pure: nothing is read or made here.  The same guest always has the same layout, so that a stored
guest's domain can be built again at any time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import Choice, DiskBus, DiskFormat
from compute_driver.guest import DirectBoot, Disk, Guest, Image, Rescue
from compute_driver.hardware import architecture
from compute_driver.storage.source import FileSource, Source

CONSOLE_LOG = "console.log"

#: XML of a domain that is not there: of kept files, or of what a guest was before its resize.
DESCRIPTION = "domain.xml"

#: How the names of all files begin that are there for a rescue only.
RESCUE_PREFIX = "rescue-"

#: The i440FX machines have one IDE controller with two channels of two drives.
MAX_IDE_DRIVES = 4


class RootKind(Choice):
    """What the guest's image makes of its root disk."""

    #: The image is the content of a disk.
    DISK = "disk"
    #: The image is an ISO 9660 file to boot from: an installer or a live system.
    ISO = "iso"
    #: There is no image: the root disk, if there is one, is empty.
    EMPTY = "empty"

    @classmethod
    def of(cls, guest: Guest) -> RootKind:
        """Return the kind for a guest whose image, if any, has its format filled in."""
        if guest.image is None:
            return cls.EMPTY
        return cls.ISO if guest.image.format is DiskFormat.ISO else cls.DISK


class Role(Choice):
    """What a disk is to its guest."""

    #: The guest's own system.
    ROOT = "root"
    #: The guest's image, an ISO 9660 file.
    INSTALLER = "installer"
    EPHEMERAL = "ephemeral"
    SWAP = "swap"
    CONFIG_DRIVE = "config-drive"
    #: The system that is booted in place of the guest's own.
    RESCUE = "rescue"


#: Roles of disks that grow in a resize and never shrink.
GROWING = frozenset({Role.ROOT, Role.EPHEMERAL})


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuestDisk:
    """One disk of a guest.

    :param role: what the disk is to the guest.
    :param index: place among the guest's ephemeral disks, 0 the first; None for any other role.
    :param source: where the disk's bytes are.
    :param size_bytes: size that the guest sees; 0 means as large as its content.
    :param bus: where it is attached.
    :param device: ``disk`` or ``cdrom``, by libvirt's ``<disk device=>`` words.
    :param readonly: whether the guest may only read it.
    :param boot_order: place among the devices to boot from, 1 the first; None means never.
    """

    role: Role
    index: int | None = None
    source: Source
    size_bytes: int
    bus: DiskBus
    device: str = "disk"
    readonly: bool = False
    boot_order: int | None = None

    @property
    def name(self) -> str:
        """The role and the index, ``ephemeral0`` for example; the guest sees it as serial number.

        No two disks of a guest have the same name.
        """
        return _name(self.role, self.index)


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
    disks: tuple[GuestDisk, ...]
    kernel: Path | None
    ramdisk: Path | None
    nvram: Path | None
    console_log: Path

    def disk(self, name: str) -> GuestDisk | None:
        """Return the disk of that name, or None if the guest has none.

        :param name: a role, or what :attr:`GuestDisk.name` says of an ephemeral disk.
        """
        return next((disk for disk in self.disks if disk.name == name), None)


def plan(
    guest: Guest,
    directory: Path,
    *,
    disk_format: DiskFormat,
    root: RootKind,
    rescue_format: DiskFormat = DiskFormat.QCOW2,
) -> Layout:
    """Lay out the files of a guest.

    A guest whose image is a disk has a root disk even if ``guest.root`` is None: one of the
    image's own size.

    :param directory: the guest's own directory, absolute.
    :param disk_format: ``qcow2`` or ``raw``, the format of the root disk.
    :param rescue_format: likewise, of a rescue system's disk.
    :param root: what the guest's image is.
    :raises InvalidParameter: if a bus is asked for that the machine does not have, or an empty
        disk without a size.
    """
    machine = architecture.machine(guest)
    root_bus = architecture.choose("disk_bus", (guest.root or Disk()).bus, machine.buses)
    cdrom_bus = guest.cdrom_bus and architecture.demand("cdrom_bus", guest.cdrom_bus, machine.buses)
    disks = []
    size = _root_size(guest, root)
    if size is not None:
        disks.append(
            GuestDisk(
                role=Role.ROOT,
                source=FileSource(path=directory / root_disk(disk_format), format=disk_format),
                size_bytes=size,
                bus=root_bus,
                boot_order=2 if root is RootKind.ISO else 1,
            )
        )
    if root is RootKind.ISO:
        disks.append(_iso(Role.INSTALLER, directory, cdrom_bus or machine.cdrom_bus, boot_order=1))
    disks += [
        _data_disk(Role.EPHEMERAL, disk, directory, machine, index)
        for index, disk in enumerate(guest.ephemerals)
    ]
    if guest.swap is not None:
        disks.append(_data_disk(Role.SWAP, guest.swap, directory, machine))
    # On the bus of the root disk: a guest that can boot from that one can read this one too.
    drive_bus = cdrom_bus or root_bus
    if guest.config_drive is not None:
        disks.append(_iso(Role.CONFIG_DRIVE, directory, drive_bus))
    prefix = ""
    if guest.rescue is not None:
        prefix = RESCUE_PREFIX
        disks = _rescued(
            guest.rescue, disks, directory, machine, root_bus, drive_bus, rescue_format
        )
    if guest.kernel is not None:
        # QEMU loads the kernel itself; no disk is ever booted from.
        disks = [dataclasses.replace(disk, boot_order=None) for disk in disks]
    _check_ide(disks)
    return Layout(
        directory=directory,
        disks=tuple(disks),
        kernel=directory / f"{prefix}kernel" if guest.kernel else None,
        ramdisk=directory / f"{prefix}ramdisk" if guest.kernel and guest.kernel.ramdisk else None,
        nvram=directory / "nvram.fd" if architecture.has_uefi(guest) else None,
        console_log=directory / CONSOLE_LOG,
    )


def _rescued(
    rescue: Rescue,
    disks: list[GuestDisk],
    directory: Path,
    machine: architecture.Machine,
    root_bus: DiskBus,
    drive_bus: DiskBus,
    disk_format: DiskFormat,
) -> list[GuestDisk]:
    """Return a guest's disks and the one that is booted instead of them."""
    usual = machine.cdrom_bus if rescue.in_drive else root_bus
    bus = architecture.choose("rescue bus", rescue.bus, machine.buses) if rescue.bus else usual
    iso = rescue.image.format is DiskFormat.ISO
    name = f"{RESCUE_PREFIX}system.iso" if iso else rescue_disk(disk_format)
    disk = GuestDisk(
        role=Role.RESCUE,
        source=FileSource(path=directory / name, format=DiskFormat.RAW if iso else disk_format),
        size_bytes=0,
        bus=bus,
        device="cdrom" if rescue.in_drive and bus is not DiskBus.VIRTIO else "disk",
        readonly=iso or rescue.in_drive,
        boot_order=1,
    )
    if rescue.config_drive is not None:
        drive = _iso(Role.CONFIG_DRIVE, directory, drive_bus, prefix=RESCUE_PREFIX)
        roles = [each.role for each in disks]
        at = roles.index(Role.CONFIG_DRIVE) if Role.CONFIG_DRIVE in roles else len(disks)
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


def _root_size(guest: Guest, root: RootKind) -> int | None:
    """Return the size of the root disk in bytes, 0 for its image's own; None: there is none."""
    size = guest.root.size_bytes if guest.root else 0
    if root is RootKind.DISK or size:
        return size
    if root is RootKind.EMPTY and guest.boot is None:
        raise exceptions.InvalidParameter("disk", size, "a size for a root disk without an image")
    return None


def _data_disk(
    role: Role,
    disk: Disk,
    directory: Path,
    machine: architecture.Machine,
    index: int | None = None,
) -> GuestDisk:
    path = directory / f"{_name(role, index)}.raw"
    return GuestDisk(
        role=role,
        index=index,
        source=FileSource(path=path, format=DiskFormat.RAW),
        size_bytes=disk.size_bytes,
        bus=architecture.choose("disk_bus", disk.bus, machine.buses),
    )


def _iso(
    role: Role, directory: Path, bus: DiskBus, *, boot_order: int | None = None, prefix: str = ""
) -> GuestDisk:
    return GuestDisk(
        role=role,
        source=FileSource(path=directory / f"{prefix}{role}.iso", format=DiskFormat.RAW),
        size_bytes=0,
        bus=bus,
        # There are no virtio CD-ROM drives; a read-only disk serves as well.
        device="disk" if bus is DiskBus.VIRTIO else "cdrom",
        readonly=True,
        boot_order=boot_order,
    )


def _name(role: Role, index: int | None) -> str:
    return str(role) if index is None else f"{role}{index}"


def _check_ide(disks: list[GuestDisk]) -> None:
    count = sum(disk.bus is DiskBus.IDE for disk in disks)
    if count > MAX_IDE_DRIVES:
        raise exceptions.InvalidParameter(
            "disk_bus",
            f"ide for {count} drives, CD-ROMs and config drive included",
            f"ide for at most {MAX_IDE_DRIVES} drives",
        )
