# SPDX-License-Identifier: Apache-2.0
"""A guest as libvirt's ``<domain>``: the list of all that it consists of, in reading order.

Source: libvirt, "Domain XML format".
"""

from __future__ import annotations

from lxml import etree

from compute_driver import architecture, exceptions
from compute_driver.acceleration import Decision
from compute_driver.guest import Cpu, Guest, VirtioForm
from compute_driver.storage.layout import Layout
from compute_driver.xml import address, boot, console, cpu, devices, disk, interface, metadata
from compute_driver.xml.elements import E


def build(
    guest: Guest,
    layout: Layout,
    decision: Decision,
    processor: Cpu,
    emulator: str,
    *,
    translation_buffer_mib: int = 0,
    hotplug_ports: int = 1,
) -> str:
    """Return the domain XML of a guest; the same arguments always give the same text.

    :param layout: where the guest's files are.
    :param decision: the guest's accelerator.
    :param processor: what the guest sees; its own wish is not looked at.
    :param emulator: the QEMU program that was found able to run it.
    :param translation_buffer_mib: see option ``tcg_translation_buffer_mib``.
    :param hotplug_ports: see the option of that name.
    :raises InvalidParameter: if the guest's machine lacks what is asked for, or a text
        holds characters that XML forbids.
    """
    machine = architecture.machine(guest)
    architecture.choose("virtio", guest.virtio, machine.virtios)
    try:
        domain = E.domain(
            {"type": decision.accelerator.domain_type},
            E.name(guest.name),
            E.uuid(guest.uuid),
            E.metadata(metadata.element(guest, layout.directory, decision)),
            E.memory(str(guest.memory_mib), unit="MiB"),
            E.vcpu(str(guest.vcpus)),
            boot.os(guest, layout, machine),
            *boot.features(guest, layout, machine, decision.accelerator, translation_buffer_mib),
            *cpu.element(processor),
            E.clock(offset="utc"),
            E.on_poweroff("destroy"),
            E.on_reboot("restart"),
            E.on_crash("destroy"),
            E.devices(
                E.emulator(emulator),
                devices.usb_controller(guest, layout, machine),
                *disk.controllers(guest, layout),
                *devices.serial_controller(guest),
                *disk.disks(guest, layout),
                *interface.interfaces(guest, machine),
                *console.serial(guest, layout, machine),
                *devices.agent_channel(guest),
                *devices.inputs(guest, machine),
                devices.video(guest, machine),
                devices.balloon(guest),
                *devices.random_source(guest),
            ),
        )
    except ValueError as error:  # lxml's word for such characters
        raise exceptions.InvalidParameter(
            "guest",
            guest.name,
            f"names and paths without control characters or broken encoding ({error})",
        ) from error
    if machine.mmio:
        address.map_into_memory(domain)
    elif machine.express and guest.virtio is VirtioForm.VIRTIO:
        address.integrate(domain)
        address.add_ports(domain, hotplug_ports)
    return etree.tostring(domain, encoding="unicode", pretty_print=True)
