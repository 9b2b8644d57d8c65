# SPDX-License-Identifier: Apache-2.0
"""Guests of every kind, with their decisions and consoles: the golden files have their domains."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import (
    Accelerator,
    ConsoleModel,
    DiskBus,
    DiskFormat,
    Firmware,
    InputModel,
    InterfaceKind,
    NicModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.guest import (
    GIB,
    MIB,
    ConfigDrive,
    Cpu,
    DirectBoot,
    Disk,
    Guest,
    Identity,
    Image,
    Rescue,
    RngRate,
    Topology,
)
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Decision
from compute_driver.limits import Bandwidth, CpuLimits, DiskLimits
from tests.unit.xml.base import (
    FALLBACK,
    IMAGE,
    ISO,
    KERNEL,
    KVM,
    NOTHING,
    TCG,
    USUAL,
    guest,
    nic,
    on_bus,
)
from tests.unit.xml.operator_cases import SERVED, SET

PLAIN: dict[str, tuple[Guest, Decision]] = {
    "bios-q35": (guest(vcpus=2, memory_mib=2048), TCG),
    "pc-ide-e1000": (
        guest(
            machine="pc",
            interfaces=(nic(1, model=NicModel.E1000),),
            config_drive=ConfigDrive(hostname="web1"),
            **on_bus(DiskBus.IDE),
        ),
        TCG,
    ),
    # No user names the machine: the driver chooses one with IDE.
    "ide-without-a-machine": (
        guest(
            config_drive=ConfigDrive(hostname="web1"),
            cdrom_bus=DiskBus.IDE,
            root=Disk(size_bytes=10 * GIB, bus=DiskBus.IDE),
        ),
        TCG,
    ),
    "rescued-by-ide-on-q35": (
        guest(rescue=Rescue(image=IMAGE, bus=DiskBus.IDE, last=True)),
        TCG,
    ),
    "rescued-by-floppy": (
        guest(rescue=Rescue(image=IMAGE, bus=DiskBus.FDC, last=True)),
        TCG,
    ),
    "igb-vmvga": (
        guest(interfaces=(nic(1, model=NicModel.IGB),), video=VideoModel.VMVGA),
        TCG,
    ),
    "pcspk": (guest(machine="pc", sound=SoundModel.PCSPK), TCG),
    "spapr-vlan": (
        guest(architecture="ppc64le", interfaces=(nic(1, model=NicModel.SPAPR_VLAN),)),
        TCG,
    ),
    "uefi": (guest(firmware=Firmware.UEFI), TCG),
    "identity-and-annotations": (
        guest(
            identity=Identity(
                manufacturer="Clouds & Sons", product="Cloud", version="1.2", serial="", family="VM"
            ),
            annotations=(
                '<shop:owner xmlns:shop="urn:shop"><shop:name>Ann</shop:name></shop:owner>',
                '<b:of xmlns:b="urn:b"/>',
            ),
        ),
        TCG,
    ),
    "direct-kernel": (guest(boot=KERNEL), TCG),
    "direct-kernel-alone": (
        guest(image=None, boot=DirectBoot(kernel=Image(location="/images/unikernel"))),
        TCG,
    ),
    "iso": (guest(image=ISO), TCG),
    "iso-with-root": (guest(image=ISO, root=Disk(size_bytes=20 * GIB)), TCG),
    "rescued-by-kernel": (
        guest(
            config_drive=ConfigDrive(hostname="web1"),
            rescue=Rescue(
                image=IMAGE,
                boot=KERNEL,
                config_drive=ConfigDrive(hostname="rescuer", admin_password="TOP-SECRET"),
            ),
        ),
        TCG,
    ),
    "rescued-by-iso-at-the-end": (
        guest(
            boot=KERNEL,
            root=Disk(size_bytes=20 * GIB),
            ephemerals=(Disk(size_bytes=GIB),),
            rescue=Rescue(image=ISO, last=True),
        ),
        TCG,
    ),
    "empty-root": (guest(image=None, root=Disk(size_bytes=20 * GIB)), TCG),
    "scsi": (guest(**on_bus(DiskBus.SCSI)), TCG),
    "sata": (guest(**on_bus(DiskBus.SATA)), TCG),
    "usb": (guest(**on_bus(DiskBus.USB)), TCG),
    "usb-and-scsi": (
        guest(
            root=Disk(bus=DiskBus.SCSI),
            ephemerals=(Disk(size_bytes=MIB, bus=DiskBus.USB),),
            swap=Disk(size_bytes=MIB, bus=DiskBus.SCSI),
            config_drive=ConfigDrive(hostname="web1"),
        ),
        TCG,
    ),
    "interfaces-of-all-kinds": (
        guest(
            vcpus=2,
            interfaces=(
                nic(1),
                nic(2, kind=InterfaceKind.NETWORK, source="default"),
                nic(3, kind=InterfaceKind.BRIDGE, source="br0", model=NicModel.VMXNET3),
                nic(4, model=NicModel.E1000E),
                nic(5, kind=InterfaceKind.OVS, source="br-int"),
                nic(
                    6,
                    kind=InterfaceKind.OVS,
                    source="br-int",
                    port="0f9f2a36-6d4c-44d4-9d4b-ae2b1c1a94d6",
                    mtu=9000,
                    queues=2,
                ),
                nic(7, kind=InterfaceKind.BRIDGE, source="brq1", device="tap1", mtu=1450),
                nic(
                    8,
                    kind=InterfaceKind.OVS,
                    source="br-int",
                    port="3b7d0e52-91c6-4f8a-a2d4-5e6f70819203",
                    hybrid=True,
                    mtu=1450,
                    queues=2,
                    inbound=Bandwidth(average=100),
                ),
            ),
        ),
        TCG,
    ),
    "no-interface": (guest(interfaces=()), TCG),
    "all-disks": (
        guest(
            root=Disk(size_bytes=10 * GIB),
            ephemerals=(Disk(size_bytes=GIB), Disk(size_bytes=2 * GIB)),
            swap=Disk(size_bytes=512 * MIB),
            config_drive=ConfigDrive(
                hostname="web1",
                user_data=b"#!/bin/sh\necho TOP-SECRET\n",
                public_keys={"admin": "ssh-ed25519 TOP-SECRET"},
                meta={"role": "TOP-SECRET"},
                admin_password="TOP-SECRET",
            ),
        ),
        TCG,
    ),
    "kvm": (guest(), KVM),
    "fallback": (guest(), FALLBACK),
    "cpu-model": (guest(cpu=Cpu(model="Nehalem")), TCG),
    "cpu-host-model": (guest(cpu=Cpu(model="host-model")), KVM),
    "cpu-host-passthrough": (guest(cpu=Cpu(model="host-passthrough")), KVM),
    "cpu-maximum": (guest(cpu=Cpu(model="maximum")), TCG),
    "video-vga": (guest(video=VideoModel.VGA), TCG),
    "video-none": (guest(video=VideoModel.NONE), TCG),
    "cpu-topology-and-features": (
        guest(
            vcpus=8,
            cpu=Cpu(
                model="Haswell-noTSX",
                enable=("pcid", "avx2"),
                disable=("x2apic",),
                topology=Topology(sockets=2, cores=2, threads=2),
            ),
        ),
        TCG,
    ),
    "cpu-topology-alone": (
        guest(architecture="s390x", vcpus=2, cpu=Cpu(topology=Topology(cores=2))),
        TCG,
    ),
    "secure-boot": (guest(firmware=Firmware.UEFI, secure_boot=True), TCG),
    "pc-uefi": (guest(machine="pc", firmware=Firmware.UEFI), TCG),
    "microvm": (
        guest(
            machine="microvm",
            boot=KERNEL,
            root=Disk(size_bytes=GIB),
            config_drive=ConfigDrive(hostname="web1"),
        ),
        TCG,
    ),
    "transitional": (
        guest(
            virtio=VirtioForm.TRANSITIONAL,
            ephemerals=(Disk(size_bytes=MIB, bus=DiskBus.SCSI),),
            console=ConsoleModel.VIRTIO,
        ),
        TCG,
    ),
    "non-transitional": (guest(machine="pc", virtio=VirtioForm.NON_TRANSITIONAL), TCG),
    "emulated-devices": (
        guest(
            machine="pc",
            interfaces=(nic(1, model=NicModel.RTL8139),),
            video=VideoModel.CIRRUS,
            input=InputModel.USB,
            rng=False,
            balloon=False,
            guest_agent=False,
            **on_bus(DiskBus.IDE),
        ),
        TCG,
    ),
    "input-ps2": (guest(input=InputModel.PS2), TCG),
    "s390x-virtio-console": (guest(architecture="s390x", console=ConsoleModel.VIRTIO), TCG),
    "cdrom-bus": (
        guest(
            machine="pc",
            image=ISO,
            root=Disk(size_bytes=GIB),
            cdrom_bus=DiskBus.SATA,
            config_drive=ConfigDrive(hostname="web1"),
        ),
        TCG,
    ),
    **{
        f"scsi-{model}": (
            guest(
                architecture="ppc64le" if model is ScsiModel.IBMVSCSI else "x86_64",
                scsi_model=model,
                **on_bus(DiskBus.SCSI),
            ),
            TCG,
        )
        for model in ScsiModel
    },
    "peripherals": (
        guest(
            sound=SoundModel.ICH9,
            watchdog=WatchdogAction.RESET,
            usb_model=UsbModel.NEC_XHCI,
            serial_ports=4,
            video=VideoModel.QXL,
            video_ram_mib=64,
            rng_rate=RngRate(size_bytes=1024, period_ms=500),
            boot_menu=True,
            hpet=False,
        ),
        TCG,
    ),
    "usb-sound-on-aarch64": (
        guest(architecture="aarch64", sound=SoundModel.USB, watchdog=WatchdogAction.PAUSE),
        TCG,
    ),
    "s390x-watchdog": (guest(architecture="s390x", watchdog=WatchdogAction.POWEROFF), TCG),
    "pmu": (guest(architecture="aarch64", pmu=False), TCG),
    "pmu-kvm": (guest(pmu=True, hpet=True), KVM),
    "hidden-tcg": (guest(hide_hypervisor=True, cpu=Cpu(model="Nehalem")), TCG),
    "hidden-kvm": (guest(hide_hypervisor=True), KVM),
    "windows-tcg": (guest(os_type=OsType.WINDOWS), TCG),
    "windows-kvm": (guest(os_type=OsType.WINDOWS), KVM),
    "windows-hidden-kvm": (guest(os_type=OsType.WINDOWS, hide_hypervisor=True), KVM),
    "packed-ring": (
        guest(packed_ring=True, ephemerals=(Disk(size_bytes=MIB, bus=DiskBus.SCSI),)),
        TCG,
    ),
    "packed-ring-transitional": (
        guest(
            packed_ring=True,
            virtio=VirtioForm.TRANSITIONAL,
            ephemerals=(Disk(size_bytes=MIB, bus=DiskBus.SCSI),),
        ),
        TCG,
    ),
    "limits": (
        guest(
            **on_bus(DiskBus.VIRTIO),
            config_drive=ConfigDrive(hostname="web1"),
            disk_limits=DiskLimits(read_bytes_sec=10**7, write_bytes_sec=10**6, total_iops_sec=99),
            cpu_limits=CpuLimits(shares=512, period_us=10000, quota_us=5000),
            interfaces=(
                nic(
                    1,
                    kind=InterfaceKind.OVS,
                    source="br-int",
                    inbound=Bandwidth(average=1000, peak=2000, burst=500),
                    outbound=Bandwidth(average=100),
                ),
            ),
        ),
        TCG,
    ),
    "no-agent": (guest(guest_agent=False), TCG),
    "names": (
        guest(
            name="<b>\"R&D\"</b> 'größe' 名前".replace("/", "|"),
            image=Image(location='/images/<R&D>\'"größe".qcow2', format=DiskFormat.QCOW2),
            boot=dataclasses.replace(KERNEL, cmdline="a=\"<b>\" c='&amp;' größe=名前"),
        ),
        Decision(Accelerator.TCG, "because of <this> & \"that\" & 'größe'"),
    ),
}

#: Every architecture with paravirtual devices, emulated and accelerated.
FOREIGN = {
    f"{name}-{decision.accelerator}": (guest(architecture=name), decision)
    for name, facts in architecture.TABLE.items()
    for decision in ((TCG, KVM) if facts.kvm_hosts else (TCG,))
}

CASES = {
    **{name: (*case, NOTHING, USUAL) for name, case in {**PLAIN, **FOREIGN}.items()},
    **{name: (*case, USUAL) for name, case in SERVED.items()},
    **SET,
}
