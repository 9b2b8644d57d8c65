# SPDX-License-Identifier: Apache-2.0
"""From a guest to its hardware: the one place that chooses devices and refuses missing ones.

Pure: the hardware follows from the guest, its accelerator, its processor, and how the host serves
consoles.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import (
    Accelerator,
    ConsoleModel,
    DiskBus,
    InputModel,
    NicModel,
    OsType,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
)
from compute_driver.consoles import Served
from compute_driver.guest import Cpu, Guest, Identity, Interface
from compute_driver.hardware import architecture, drives, tuning
from compute_driver.hardware.architecture import Architecture
from compute_driver.hardware.description import (
    Addresses,
    Boot,
    Clock,
    Console,
    DiskDriver,
    Display,
    Drives,
    Features,
    Gic,
    Hardware,
    NetworkCard,
    Peripherals,
    Processor,
    RandomSource,
    Switch,
    Virtio,
    Watchdog,
)
from compute_driver.hardware.machines import Machine
from compute_driver.hardware.settings import Settings

#: KVM has the host's controller; emulation has the version that serves any number of processors.
_GIC = {Accelerator.KVM: Gic.HOST, Accelerator.TCG: Gic.V3}

#: Display adapters with memory of their own; virtio's memory is the guest's.
_WITH_MEMORY = (VideoModel.VGA, VideoModel.QXL, VideoModel.BOCHS)


_NO_SETTINGS = Settings()


def as_configured(guest: Guest, accelerator: Accelerator, options: Any) -> Hardware:
    """Return the hardware that a guest gets, as configuration is now.

    :param options: group ``[hypervisor]``.
    :raises: what :func:`compute_driver.hardware.tuning.cpu` and :func:`resolve` raise.
    """
    cpu = tuning.cpu(guest, accelerator, tuning.CpuDefaults.of(options))
    return resolve(guest, accelerator, cpu, Served.of(options), Settings.of(options))


def resolve(
    guest: Guest,
    accelerator: Accelerator,
    cpu: Cpu,
    served: Served,
    settings: Settings = _NO_SETTINGS,
) -> Hardware:
    """Return the hardware of a guest.

    :param cpu: the processor, defaults filled in; the guest's own wish is not read.
    :param served: how the host serves the guest's consoles.
    :param settings: the operator's settings for all guests.
    :raises InvalidParameter: if the guest's machine lacks a device that the guest asks for; the
        error is NotOnThisHost if the machine has the device under another accelerator.
    """
    facts = architecture.get(guest.architecture)
    machine = architecture.machine(guest)
    _check_vcpus(guest, machine)
    boot = _boot(guest, machine)
    buses = drives.resolve(guest)
    virtio = _virtio(guest, machine)
    display = _display(guest, machine, served)
    console = _console(guest, machine, served)
    return Hardware(
        architecture=facts,
        family=machine,
        machine=architecture.machine_type(guest),
        accelerator=accelerator,
        addresses=_addresses(machine, virtio),
        boot=boot,
        identity=_identity(guest, machine),
        processor=Processor(
            model=cpu.model or "",
            enable=cpu.enable,
            disable=cpu.disable,
            topology=() if cpu.topology is None else (cpu.topology,),
            host_cpus=settings.guest_cpus,
        ),
        features=_features(guest, facts, machine, accelerator, boot),
        clock=_clock(guest, facts, machine, accelerator),
        virtio=virtio,
        drives=buses,
        disk_driver=DiskDriver(
            cache_modes=settings.disk_cache_modes, discard=settings.disk_discard
        ),
        cards=tuple(_card(interface, guest, machine, settings) for interface in guest.interfaces),
        console=console,
        display=display,
        peripherals=_peripherals(guest, machine, buses, display, console),
    )


def _check_vcpus(guest: Guest, machine: Machine) -> None:
    if machine.max_vcpus and guest.vcpus > machine.max_vcpus:
        name = architecture.machine_type(guest)
        accepted = f"at most {machine.max_vcpus}, which is what machine {name} takes"
        raise exceptions.InvalidParameter("vcpus", guest.vcpus, accepted)


def _boot(guest: Guest, machine: Machine) -> Boot:
    uefi = architecture.has_uefi(guest)
    if guest.boot_menu and not machine.boot_menu:
        raise _lacking("boot_menu", machine)
    return Boot(uefi=uefi, secure_boot=guest.secure_boot, menu=guest.boot_menu)


def _identity(guest: Guest, machine: Machine) -> tuple[Identity, ...]:
    if not machine.smbios:
        return ()
    serial = guest.uuid if guest.identity.serial is None else guest.identity.serial
    return (dataclasses.replace(guest.identity, serial=serial),)


def _virtio(guest: Guest, machine: Machine) -> Virtio:
    form = architecture.choose("virtio", guest.virtio, machine.virtios)
    if guest.packed_ring and machine.mmio:
        # Devices in memory have virtio's older interface, which has no packed queues.
        accepted = f"off: devices of machine {machine.name} have none"
        raise exceptions.InvalidParameter("packed_ring", True, accepted)
    return Virtio(form=form, packed=guest.packed_ring)


def _addresses(machine: Machine, virtio: Virtio) -> Addresses:
    if machine.mmio:
        return Addresses.MEMORY
    whole = machine.express and virtio.form is VirtioForm.VIRTIO
    return Addresses.ROOT_BUS if whole else Addresses.LIBVIRT


def _features(
    guest: Guest, facts: Architecture, machine: Machine, accelerator: Accelerator, boot: Boot
) -> Features:
    kvm = accelerator is Accelerator.KVM
    return Features(
        # If the machine has no ACPI tables of its own, UEFI makes the tables.
        acpi=machine.acpi or boot.uefi,
        apic=machine.apic,
        hyperv=kvm and facts.hyperv and guest.os_type is OsType.WINDOWS,
        # A CPU feature reveals emulation; hardware/tuning.py removes the feature.
        hidden=kvm and guest.hide_hypervisor,
        pmu=_pmu(guest, facts, accelerator),
        gic=_GIC[accelerator] if machine.gic else Gic.NONE,
        # In this mode the firmware protects its variables from the system.
        smm=boot.secure_boot,
    )


def _pmu(guest: Guest, facts: Architecture, accelerator: Accelerator) -> Switch:
    if facts.pmu and (facts.emulated_pmu or accelerator is Accelerator.KVM):
        return Switch.of(guest.pmu)
    if guest.pmu:
        refusal = exceptions.NotOnThisHost if facts.pmu else exceptions.InvalidParameter
        raise refusal("pmu", True, f"off: {facts.name} under {accelerator} has none")
    return Switch.DEFAULT


def _clock(guest: Guest, facts: Architecture, machine: Machine, accelerator: Accelerator) -> Clock:
    if guest.hpet and not machine.hpet:
        raise _lacking("hpet", machine)
    windows = guest.os_type is OsType.WINDOWS
    # The machines with an HPET are those with the other clocks of a PC.
    catch_up = machine.hpet and accelerator is Accelerator.KVM
    return Clock(
        # Windows takes the hardware clock for local time.
        local_time=windows,
        catch_up=catch_up,
        hyperv=catch_up and windows and facts.hyperv,
        hpet=Switch.of(_hpet(guest, machine, accelerator)),
    )


def _hpet(guest: Guest, machine: Machine, accelerator: Accelerator) -> bool | None:
    if not machine.hpet:
        return None
    # With KVM, the other clocks are better.
    return bool(guest.hpet) if accelerator is Accelerator.KVM else guest.hpet


def _card(interface: Interface, guest: Guest, machine: Machine, settings: Settings) -> NetworkCard:
    model = architecture.choose("nic model", interface.model, machine.nics)
    if interface.queues is not None and model is not NicModel.VIRTIO:
        raise exceptions.InvalidParameter("nic queues", interface.queues, "model virtio")
    # The ROM delays each boot, and boots from the network, which only a boot menu can choose.
    rom_off = machine.pci and model is not NicModel.SPAPR_VLAN and not guest.boot_menu
    queues = interface.queues or 0
    return NetworkCard(
        model=model,
        queues=min(queues, settings.nic_max_queues) if settings.nic_max_queues else queues,
        rx_queue_size=settings.nic_rx_queue_size if model is NicModel.VIRTIO else 0,
        rom_off=rom_off,
    )


def _console(guest: Guest, machine: Machine, served: Served) -> Console:
    model = architecture.choose("console", guest.console, machine.consoles)
    most = machine.serial_ports if model is ConsoleModel.SERIAL else 1
    if guest.serial_ports > most:
        accepted = f"at most {most} with machine {machine.name} and console {model}"
        raise exceptions.InvalidParameter("serial_ports", guest.serial_ports, accepted)
    return Console(model=model, ports=guest.serial_ports, address=served.serial or "")


def _display(guest: Guest, machine: Machine, served: Served) -> Display:
    model = architecture.choose("video", guest.video, machine.videos)
    if guest.video_ram_mib is not None and model not in _WITH_MEMORY:
        models = ", ".join(video for video in machine.videos if video in _WITH_MEMORY)
        accepted = f"nothing with video {model}" + (f", but with {models}" if models else "")
        raise exceptions.InvalidParameter("video_ram", guest.video_ram_mib, accepted)
    return Display(
        model=model,
        memory_mib=guest.video_ram_mib or 0,
        screens=() if model is VideoModel.NONE else served.displays,
        spice=served.spice,
    )


def _peripherals(
    guest: Guest, machine: Machine, buses: Drives, display: Display, console: Console
) -> Peripherals:
    inputs = architecture.choose("input", guest.input, machine.inputs)
    sound = _sound(guest, machine)
    limits = () if guest.rng_rate is None else (guest.rng_rate,)
    return Peripherals(
        input=inputs,
        usb=_usb(guest, machine, buses, inputs, display),
        serial_bus=(
            guest.guest_agent or display.spice_agent or console.model is ConsoleModel.VIRTIO
        ),
        guest_agent=guest.guest_agent,
        balloon=guest.balloon,
        random=(RandomSource(rate=limits),) * guest.rng,
        sound=sound,
        watchdog=_watchdog(guest, machine),
    )


def _usb(
    guest: Guest, machine: Machine, buses: Drives, inputs: InputModel, display: Display
) -> UsbModel:
    """Return the USB controller; a guest without USB devices has none: an idle one costs time."""
    used = DiskBus.USB in buses.buses or inputs is InputModel.USB or guest.sound is SoundModel.USB
    used = used or (machine.usb_screen and bool(display.screens))
    needed = UsbModel.QEMU_XHCI if used else UsbModel.NONE
    model = architecture.demand("usb_model", guest.usb_model or needed, machine.usbs)
    if used and model is UsbModel.NONE:
        accepted = f"{UsbModel.QEMU_XHCI}, {UsbModel.NEC_XHCI}: devices of the guest need one"
        raise exceptions.InvalidParameter("usb_model", str(model), accepted)
    return model


def _sound(guest: Guest, machine: Machine) -> tuple[SoundModel, ...]:
    if guest.sound is None:
        return ()
    return (architecture.demand("sound", guest.sound, machine.sounds),)


def _watchdog(guest: Guest, machine: Machine) -> tuple[Watchdog, ...]:
    if guest.watchdog is None:
        return ()
    if not machine.watchdogs:
        accepted = f"nothing: machine {machine.name} has no watchdog"
        raise exceptions.InvalidParameter("watchdog", str(guest.watchdog), accepted)
    return (Watchdog(model=machine.watchdogs[0], action=guest.watchdog),)


def _lacking(field: str, machine: Machine) -> exceptions.InvalidParameter:
    accepted = f"off: machine {machine.name} has none"
    return exceptions.InvalidParameter(field, True, accepted)
