# SPDX-License-Identifier: Apache-2.0
"""The disks and files of a guest: where they are, and where the guest sees them.

Pure but for the function that locates disks.  The same guest always has the same layout, so that
the driver can build the domain of a stored guest again at any time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compute_driver.choices import Choice, DiskBus, DiskFormat, FileSystem
from compute_driver.guest import DirectBoot, Disk, Guest, Image, Rescue
from compute_driver.storage.source import Source

if TYPE_CHECKING:
    from compute_driver.hardware.description import Drives

#: Returns the source of a disk by the name of the source and the format, or None for any format.
Locate = Callable[[str, DiskFormat | None], Source]

CONSOLE_LOG = "console.log"

#: XML of a domain that libvirt does not know: of kept files, or of a guest before its resize.
DESCRIPTION = "domain.xml"

#: XML of a guest's domain as this driver has defined it last.  As the name begins with a dot, no
#: resize moves the file.
LATEST = ".domain.xml"

#: Keys of the guest's SSH server, which no resize moves, either.
HOST_KEYS = ".ssh_host_keys"

#: The beginning of the names of all files that only a rescue needs.
RESCUE_PREFIX = "rescue-"


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
    :param bus: the bus of the disk.
    :param device: ``disk``, ``cdrom`` or ``floppy``, by libvirt's ``<disk device=>`` words.
    :param readonly: whether the guest may only read it.
    :param filesystem: file system of an ephemeral disk.
    :param boot_order: place among the devices to boot from, 1 the first; None means never.
    """

    role: Role
    index: int | None = None
    source: Source
    size_bytes: int
    bus: DiskBus
    device: str = "disk"
    readonly: bool = False
    filesystem: FileSystem = FileSystem.EXT4
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

    :param directory: the directory of all files, and of no other guest's.
    :param disks: in the guest's order.
    :param kernel: kernel for direct boot; None without direct boot.
    :param ramdisk: initial ramdisk for direct boot; None without.
    :param nvram: UEFI's variables; None with any other firmware.
    :param console_log: the log of the guest's serial console.
    """

    directory: Path
    disks: tuple[GuestDisk, ...]
    kernel: Path | None
    ramdisk: Path | None
    nvram: Path | None
    console_log: Path

    @property
    def places(self) -> dict[str, Source]:
        """Where the bytes of the disks are, by the disks' names."""
        return {disk.name: disk.source for disk in self.disks}

    def disk(self, name: str) -> GuestDisk | None:
        """Return the disk of that name, or None if the guest has none.

        :param name: a role, or the :attr:`GuestDisk.name` of an ephemeral disk.
        """
        return next((disk for disk in self.disks if disk.name == name), None)


def plan(
    guest: Guest,
    directory: Path,
    drives: Drives,
    locate: Locate,
    *,
    uefi: bool,
) -> Layout:
    """Lay out the files of a guest.

    :param directory: the guest's own directory, absolute.
    :param drives: the guest's drives and their buses.
    :param locate: tells where disks are, or will be.
    :param uefi: whether UEFI starts the guest.
    """
    disks = [
        GuestDisk(
            role=Role.ROOT,
            source=locate(str(Role.ROOT), None),
            size_bytes=guest.root.size_bytes if guest.root else 0,
            bus=bus,
            boot_order=2 if drives.installer else 1,
        )
        for bus in drives.root
    ]
    disks += [_iso(Role.INSTALLER, locate, bus, boot_order=1) for bus in drives.installer]
    disks += [
        _data_disk(Role.EPHEMERAL, disk, locate, bus, index)
        for index, (disk, bus) in enumerate(zip(guest.ephemerals, drives.ephemerals, strict=True))
    ]
    disks += [_data_disk(Role.SWAP, guest.swap, locate, bus) for bus in drives.swap if guest.swap]
    if guest.config_drive is not None:
        disks += [_iso(Role.CONFIG_DRIVE, locate, bus) for bus in drives.config_drive]
    prefix = ""
    if guest.rescue is not None:
        prefix = RESCUE_PREFIX
        disks = _rescued(guest.rescue, disks, locate, drives)
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
    rescue: Rescue, disks: list[GuestDisk], locate: Locate, drives: Drives
) -> list[GuestDisk]:
    """Return a guest's disks and the disk that boots instead of them."""
    (bus,) = drives.rescue
    iso = rescue.image.format is DiskFormat.ISO
    disk = GuestDisk(
        role=Role.RESCUE,
        source=locate(f"{RESCUE_PREFIX}system", DiskFormat.ISO if iso else None),
        size_bytes=0,
        bus=bus,
        device=_rescue_device(rescue, bus),
        readonly=iso or rescue.in_drive,
        boot_order=1,
    )
    if rescue.config_drive is not None:
        (drive_bus,) = drives.config_drive
        drive = _iso(Role.CONFIG_DRIVE, locate, drive_bus, prefix=RESCUE_PREFIX)
        roles = [other.role for other in disks]
        at = roles.index(Role.CONFIG_DRIVE) if Role.CONFIG_DRIVE in roles else len(disks)
        disks = [*disks[:at], drive, *disks[at + 1 :]]
    disks = [dataclasses.replace(other, boot_order=None) for other in disks]
    return [*disks, disk] if rescue.last else [disk, *disks]


def _rescue_device(rescue: Rescue, bus: DiskBus) -> str:
    if bus is DiskBus.FDC:
        return "floppy"
    return "cdrom" if rescue.in_drive and bus is not DiskBus.VIRTIO else "disk"


def boot_files(boot: DirectBoot | None, plan: Layout) -> list[tuple[Image, Path]]:
    """Return the images of a direct boot, and the paths of their files."""
    if boot is None:
        return []
    pairs = [(boot.kernel, plan.kernel), (boot.ramdisk, plan.ramdisk)]
    return [(image, path) for image, path in pairs if image is not None and path is not None]


def _data_disk(
    role: Role, disk: Disk, locate: Locate, bus: DiskBus, index: int | None = None
) -> GuestDisk:
    return GuestDisk(
        role=role,
        index=index,
        source=locate(_name(role, index), DiskFormat.RAW),
        size_bytes=disk.size_bytes,
        bus=bus,
        filesystem=disk.filesystem or FileSystem.EXT4,
    )


def _iso(
    role: Role, locate: Locate, bus: DiskBus, *, boot_order: int | None = None, prefix: str = ""
) -> GuestDisk:
    return GuestDisk(
        role=role,
        source=locate(f"{prefix}{role}", DiskFormat.ISO),
        size_bytes=0,
        bus=bus,
        # There are no virtio CD-ROM drives; a read-only disk serves as well.
        device="disk" if bus is DiskBus.VIRTIO else "cdrom",
        readonly=True,
        boot_order=boot_order,
    )


def is_disk_name(text: str) -> bool:
    """Tell whether a text is the :attr:`GuestDisk.name` of some disk."""
    return text.rstrip("0123456789") in set(map(str, Role))


def _name(role: Role, index: int | None) -> str:
    return str(role) if index is None else f"{role}{index}"
