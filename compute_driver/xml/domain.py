# SPDX-License-Identifier: Apache-2.0
"""A guest as libvirt's ``<domain>``: the list of all its elements, in reading order.

Source: libvirt, "Domain XML format".
"""

from __future__ import annotations

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.hardware.description import Hardware
from compute_driver.storage.layout import Layout
from compute_driver.xml import (
    address,
    boot,
    clock,
    console,
    cpu,
    disk,
    graphics,
    interface,
    metadata,
    peripherals,
    virtio,
)
from compute_driver.xml.elements import E


def build(
    guest: Guest,
    hardware: Hardware,
    layout: Layout,
    decision: Decision,
    emulator: str,
    *,
    translation_buffer_mib: int = 0,
    hotplug_ports: int = 1,
    memory_stats_seconds: int = 0,
) -> str:
    """Return the domain XML of a guest; the same arguments always give the same text.

    :param hardware: the guest's hardware.
    :param layout: the guest's files.
    :param decision: the guest's accelerator.
    :param emulator: path of the QEMU program.
    :param translation_buffer_mib: see option ``tcg_translation_buffer_mib``; 0 leaves the size to
        QEMU.
    :param hotplug_ports: see the option of that name.
    :param memory_stats_seconds: see the option of that name.
    :raises InvalidParameter: if a text holds characters that XML forbids.
    """
    emulated = hardware.accelerator is Accelerator.TCG
    devices = hardware.peripherals
    try:
        domain = E.domain(
            {"type": hardware.accelerator.domain_type},
            E.name(guest.name),
            E.uuid(guest.uuid),
            E.metadata(
                metadata.element(guest, layout.directory, decision),
                *metadata.elements(guest.annotations),
            ),
            E.memory(str(guest.memory_mib), unit="MiB"),
            cpu.count(guest.vcpus, hardware.processor),
            *cpu.tuning_element(guest.cpu_limits),
            boot.os(guest, hardware, layout),
            *boot.sysinfo(guest, hardware),
            *boot.features(hardware.features, translation_buffer_mib if emulated else 0),
            *cpu.element(hardware.processor),
            clock.element(hardware.clock),
            E.on_poweroff("destroy"),
            E.on_reboot("restart"),
            E.on_crash("destroy"),
            E.devices(
                E.emulator(emulator),
                peripherals.usb_controller(devices),
                *disk.controllers(hardware),
                *peripherals.serial_controller(devices, hardware.virtio),
                *disk.disks(guest, hardware, layout),
                *interface.interfaces(guest, hardware),
                *console.serial(hardware.console, layout),
                *peripherals.agent_channel(devices),
                *graphics.agent_channel(hardware.display),
                *peripherals.inputs(devices),
                *graphics.graphics(hardware.display),
                graphics.video(hardware.display),
                peripherals.balloon(devices, hardware.virtio, memory_stats_seconds),
                *peripherals.random_source(devices, hardware.virtio),
                *peripherals.sound(devices),
                *peripherals.watchdog(devices),
            ),
        )
    except ValueError as error:  # lxml's error for such characters
        raise exceptions.InvalidParameter(
            "guest",
            guest.name,
            f"names and paths without control characters or broken encoding ({error})",
        ) from error
    if hardware.virtio.packed:
        virtio.pack(domain)
    address.assign(domain, hardware.addresses, hotplug_ports)
    return etree.tostring(domain, encoding="unicode", pretty_print=True)
