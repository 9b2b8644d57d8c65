# SPDX-License-Identifier: Apache-2.0
"""The devices that simulated machines have."""

from __future__ import annotations

from compute_driver.guest import Guest
from compute_driver.hardware import architecture


def check(guest: Guest) -> None:
    """Refuse devices that machines of the guest's architecture do not have."""
    machine = architecture.machine(guest)
    disks = [disk for disk in (guest.root, *guest.ephemerals, guest.swap) if disk is not None]
    for disk in disks:
        architecture.choose("disk_bus", disk.bus, machine.buses)
    for nic in guest.interfaces:
        architecture.choose("nic model", nic.model, machine.nics)
    architecture.choose("virtio", guest.virtio, machine.virtios)
    architecture.choose("video", guest.video, machine.videos)
    architecture.choose("input", guest.input, machine.inputs)
    architecture.choose("console", guest.console, machine.consoles)
    architecture.choose("scsi_model", guest.scsi_model, machine.scsis)
    if guest.cdrom_bus is not None:
        architecture.demand("cdrom_bus", guest.cdrom_bus, machine.buses)
    if guest.usb_model is not None:
        architecture.demand("usb_model", guest.usb_model, machine.usbs)
    if guest.sound is not None:
        architecture.demand("sound", guest.sound, machine.sounds)
    architecture.has_uefi(guest)
