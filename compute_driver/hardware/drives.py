# SPDX-License-Identifier: Apache-2.0
"""Which drives a guest has, and on which buses of its machine; pure."""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.choices import Choice, DiskBus, DiskFormat
from compute_driver.guest import Disk, Guest, Rescue
from compute_driver.hardware import architecture
from compute_driver.hardware.description import Drives
from compute_driver.hardware.machines import Machine

#: The i440FX machines have one IDE controller with two channels of two drives.
MAX_IDE_DRIVES = 4


class RootKind(Choice):
    """The effect of the guest's image on the root disk."""

    #: The image is the content of a disk.
    DISK = "disk"
    #: The image is an ISO 9660 file to boot from: an installer or a live system.
    ISO = "iso"
    #: The guest has no image; its root disk, if any, is empty.
    EMPTY = "empty"

    @classmethod
    def of(cls, guest: Guest) -> RootKind:
        """Return the kind for a guest whose image, if any, has its format filled in."""
        if guest.image is None:
            return cls.EMPTY
        return cls.ISO if guest.image.format is DiskFormat.ISO else cls.DISK


def resolve(guest: Guest) -> Drives:
    """Return the guest's drives.

    A guest whose image is a disk has a root disk even if ``guest.root`` is None: one of the
    image's own size.

    :raises InvalidParameter: if the machine lacks a bus or the SCSI controller, if one bus has too
        many drives, or if a guest without an image and a kernel has no root disk with a size.
    """
    machine = architecture.machine(guest)
    root_bus = _bus(guest.root, machine)
    cdrom_bus = guest.cdrom_bus and architecture.demand("cdrom_bus", guest.cdrom_bus, machine.buses)
    kind, rescue = RootKind.of(guest), guest.rescue
    rescue_buses = () if rescue is None else (_rescue_bus(rescue, machine, root_bus),)
    made = Drives(
        root=(root_bus,) * _has_root(guest, kind),
        installer=(cdrom_bus or machine.cdrom_bus,) * (kind is RootKind.ISO),
        ephemerals=tuple(_bus(disk, machine) for disk in guest.ephemerals),
        swap=(_bus(guest.swap, machine),) * (guest.swap is not None),
        config_drive=_config_drive_buses(guest, cdrom_bus or root_bus, rescue_buses),
        rescue=rescue_buses,
        scsi=architecture.choose("scsi_model", guest.scsi_model, machine.scsis),
    )
    _check_ide(made)
    return made


def _bus(disk: Disk | None, machine: Machine) -> DiskBus:
    return architecture.choose("disk_bus", None if disk is None else disk.bus, machine.buses)


def _config_drive_buses(
    guest: Guest, own: DiskBus, rescue_buses: tuple[DiskBus, ...]
) -> tuple[DiskBus, ...]:
    """Return the bus of the config drive, if any; a system can read the bus that it boots from.

    The config drive of a rescue system whose disk comes last takes the place of the guest's own.
    """
    rescue = guest.rescue
    if rescue is None or rescue.config_drive is None:
        return (own,) * (guest.config_drive is not None)
    return (own,) if rescue.last or DiskBus.FDC in rescue_buses else rescue_buses


def _rescue_bus(rescue: Rescue, machine: Machine, root_bus: DiskBus) -> DiskBus:
    if rescue.bus is None:
        return machine.cdrom_bus if rescue.in_drive else root_bus
    if has_sata_for_ide(rescue.bus, machine):
        return DiskBus.SATA
    offered = (*machine.buses, *(DiskBus.FDC,) * machine.floppy)
    return architecture.demand("rescue bus", rescue.bus, offered)


def has_sata_for_ide(bus: DiskBus | None, machine: Machine) -> bool:
    """Tell whether a rescue system gets SATA in place of IDE.

    The machine of a guest stays the same in a rescue, and Q35 machines have SATA only.  Both are
    ATA, which systems with a driver for AHCI see alike.
    """
    return bus is DiskBus.IDE and bus not in machine.buses and DiskBus.SATA in machine.buses


def _has_root(guest: Guest, kind: RootKind) -> bool:
    size = guest.root.size_bytes if guest.root else 0
    if kind is RootKind.EMPTY and not size and guest.boot is None:
        raise exceptions.InvalidParameter("disk", size, "a size for a root disk without an image")
    return kind is RootKind.DISK or size > 0


def _check_ide(drives: Drives) -> None:
    count = drives.buses.count(DiskBus.IDE)
    if count > MAX_IDE_DRIVES:
        raise exceptions.InvalidParameter(
            "disk_bus",
            f"ide for {count} drives, CD-ROMs and config drive included",
            f"ide for at most {MAX_IDE_DRIVES} drives",
        )
