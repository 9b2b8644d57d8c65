# SPDX-License-Identifier: Apache-2.0
"""The facts of QEMU's machine types, family by family: one column for each family of devices.

Sources: libvirt "Domain XML format", QEMU "System Emulator Targets", and the machines that booted
in the project's own tests.
"""

from __future__ import annotations

import dataclasses

from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogModel,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts of one family of QEMU's machine types; the first of several choices is the default.

    :param name: the family's newest member, which QEMU gives for this name.
    :param names: patterns of all members' names.
    :param firmwares: firmware that starts a boot loader; empty if a guest must give a kernel.
    :param secure_boot: whether the machine has firmware that starts signed boot loaders only.
    :param acpi: whether the machine has ACPI without UEFI.
    :param apic: whether the machine has an APIC.
    :param max_vcpus: the highest number of virtual CPUs, where libvirt's number is too high; 0 if
        libvirt's number is right.
    :param gic: whether the machine has a GIC; version 2 of the GIC serves at most eight virtual
        CPUs.
    :param express: whether the root bus is PCI Express.
    :param pci: whether the machine has a PCI bus.
    :param mmio: whether virtio devices are in memory, because the machine has no other bus.
    :param virtios: the interfaces of virtio devices.
    :param consoles: devices of the first serial console.
    :param buses: disk buses.
    :param cdrom_bus: bus of the CD-ROM drive of an installer.
    :param floppy: whether the machine can have a floppy drive.
    :param nics: network cards.
    :param videos: display adapters.
    :param inputs: keyboards and pointers.
    :param usb_screen: whether libvirt adds a USB keyboard and mouse if the host serves the screen.
    :param scsis: SCSI controllers that the machine's firmware boots from.
    :param usbs: USB controllers.
    :param sounds: sound cards.
    :param watchdogs: watchdogs.
    :param serial_ports: the highest number of serial ports.
    :param boot_menu: whether the machine's firmware has a menu of boot devices.
    :param hpet: whether the machine has an HPET, beside the other clocks of a PC.
    :param nmi: whether the machine has non-maskable interrupts.
    :param smbios: whether the machine has SMBIOS tables.
    """

    name: str
    names: tuple[str, ...]
    firmwares: tuple[Firmware, ...] = (Firmware.BIOS,)
    secure_boot: bool = False
    acpi: bool = False
    apic: bool = False
    max_vcpus: int = 0
    gic: bool = False
    express: bool = False
    pci: bool = True
    mmio: bool = False
    virtios: tuple[VirtioForm, ...] = tuple(VirtioForm)
    consoles: tuple[ConsoleModel, ...] = (ConsoleModel.SERIAL, ConsoleModel.VIRTIO)
    buses: tuple[DiskBus, ...] = (DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.USB)
    cdrom_bus: DiskBus = DiskBus.SCSI
    floppy: bool = False
    nics: tuple[NicModel, ...] = (NicModel.VIRTIO, NicModel.E1000, NicModel.RTL8139)
    videos: tuple[VideoModel, ...] = (VideoModel.VIRTIO, VideoModel.NONE)
    inputs: tuple[InputModel, ...] = (InputModel.VIRTIO, InputModel.USB, InputModel.NONE)
    usb_screen: bool = False
    scsis: tuple[ScsiModel, ...] = (ScsiModel.VIRTIO,)
    usbs: tuple[UsbModel, ...] = tuple(UsbModel)
    sounds: tuple[SoundModel, ...] = (
        SoundModel.ICH9,
        SoundModel.ICH6,
        SoundModel.AC97,
        SoundModel.ES1370,
        SoundModel.USB,
        SoundModel.VIRTIO,
    )
    watchdogs: tuple[WatchdogModel, ...] = (WatchdogModel.I6300ESB,)
    serial_ports: int = 1
    boot_menu: bool = True
    hpet: bool = False
    nmi: bool = False
    smbios: bool = False


PC = Machine(
    name="pc",
    names=("pc", "pc-i440fx-*"),
    acpi=True,
    apic=True,
    # More virtual CPUs need an IOMMU, which guests do not have.
    max_vcpus=255,
    buses=(DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.IDE, DiskBus.USB),
    # Systems that need this machine may know IDE and not AHCI.
    cdrom_bus=DiskBus.IDE,
    floppy=True,
    nics=tuple(m for m in NicModel if m not in (NicModel.IGB, NicModel.SPAPR_VLAN)),
    videos=(
        VideoModel.VIRTIO,
        VideoModel.VGA,
        VideoModel.CIRRUS,
        VideoModel.QXL,
        VideoModel.BOCHS,
        VideoModel.VMVGA,
        VideoModel.NONE,
    ),
    inputs=(InputModel.VIRTIO, InputModel.USB, InputModel.PS2),
    scsis=tuple(model for model in ScsiModel if model is not ScsiModel.IBMVSCSI),
    sounds=tuple(SoundModel),
    serial_ports=4,
    hpet=True,
    nmi=True,
    smbios=True,
)
Q35 = dataclasses.replace(
    PC,
    name="q35",
    names=("q35", "pc-q35-*"),
    express=True,
    buses=(DiskBus.VIRTIO, DiskBus.SCSI, DiskBus.SATA, DiskBus.USB),
    cdrom_bus=DiskBus.SATA,
    # Intel's igb needs PCI Express.
    nics=(*PC.nics, NicModel.IGB),
)
MICROVM = Machine(
    name="microvm",
    names=("microvm",),
    acpi=True,
    apic=True,
    max_vcpus=255,
    pci=False,
    mmio=True,
    firmwares=(),
    virtios=(VirtioForm.VIRTIO,),
    buses=(DiskBus.VIRTIO,),
    cdrom_bus=DiskBus.VIRTIO,
    nics=(NicModel.VIRTIO,),
    videos=(VideoModel.NONE,),
    inputs=(InputModel.NONE,),
    usbs=(UsbModel.NONE,),
    sounds=(),
    watchdogs=(),
    boot_menu=False,
    nmi=True,
)
_BIOS_OR_UEFI = (Firmware.BIOS, Firmware.UEFI)
Q35_UEFI = dataclasses.replace(Q35, firmwares=_BIOS_OR_UEFI, secure_boot=True)
PC_UEFI = dataclasses.replace(PC, firmwares=_BIOS_OR_UEFI)
VIRT = Machine(
    name="virt",
    names=("virt", "virt-*"),
    firmwares=(Firmware.UEFI,),
    express=True,
    nics=(
        *(NicModel.VIRTIO, NicModel.E1000, NicModel.RTL8139),
        *(NicModel.E1000E, NicModel.PCNET, NicModel.VMXNET3, NicModel.IGB),
    ),
)
ARM_VIRT = dataclasses.replace(VIRT, gic=True, smbios=True)
PSERIES = Machine(
    name="pseries",
    names=("pseries", "pseries-*"),
    nics=(NicModel.VIRTIO, NicModel.E1000, NicModel.RTL8139, NicModel.SPAPR_VLAN),
    videos=(VideoModel.VGA, VideoModel.VIRTIO, VideoModel.NONE),
    usb_screen=True,
    scsis=(ScsiModel.VIRTIO, ScsiModel.IBMVSCSI),
    nmi=True,
)
S390 = Machine(
    name="s390-ccw-virtio",
    names=("s390-ccw-virtio", "s390-ccw-virtio-*"),
    pci=False,
    virtios=(VirtioForm.VIRTIO,),
    consoles=(ConsoleModel.SCLP, ConsoleModel.VIRTIO),
    buses=(DiskBus.VIRTIO, DiskBus.SCSI),
    nics=(NicModel.VIRTIO,),
    inputs=(InputModel.VIRTIO, InputModel.NONE),
    usbs=(UsbModel.NONE,),
    sounds=(),
    watchdogs=(WatchdogModel.DIAG288,),
    nmi=True,
)
