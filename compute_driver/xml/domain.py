# SPDX-License-Identifier: Apache-2.0
"""A guest as libvirt's ``<domain>``: the list of all that it consists of, in reading order.

Source: libvirt, "Domain XML format".
"""

from __future__ import annotations

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import VirtioForm
from compute_driver.consoles import Served
from compute_driver.guest import Cpu, Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Decision
from compute_driver.storage.layout import Layout
from compute_driver.xml import (
    address,
    boot,
    clock,
    console,
    cpu,
    devices,
    disk,
    graphics,
    interface,
    metadata,
    virtio,
)
from compute_driver.xml.elements import E

_NOTHING = Served()


def build(
    guest: Guest,
    layout: Layout,
    decision: Decision,
    processor: Cpu,
    emulator: str,
    *,
    translation_buffer_mib: int = 0,
    served: Served = _NOTHING,
    hotplug_ports: int = 1,
) -> str:
    """Return the domain XML of a guest; the same arguments always give the same text.

    :param layout: where the guest's files are.
    :param decision: the guest's accelerator.
    :param processor: what the guest sees; its own wish is not looked at.
    :param emulator: the QEMU program that was found able to run it.
    :param translation_buffer_mib: see option ``tcg_translation_buffer_mib``.
    :param served: how its consoles are served.
    :param hotplug_ports: see the option of that name.
    :raises InvalidParameter: if the guest's machine lacks what is asked for, or a text
        holds characters that XML forbids.
    """
    machine = architecture.machine(guest)
    shown = bool(graphics.kinds(guest, machine, served))
    spice_agent = graphics.has_spice_agent(guest, machine, served)
    architecture.choose("virtio", guest.virtio, machine.virtios)
    try:
        domain = E.domain(
            {"type": decision.accelerator.domain_type},
            E.name(guest.name),
            E.uuid(guest.uuid),
            E.metadata(metadata.element(guest, layout.directory, decision)),
            E.memory(str(guest.memory_mib), unit="MiB"),
            E.vcpu(str(guest.vcpus)),
            *cpu.tuning_element(guest.cpu_limits),
            boot.os(guest, layout, machine),
            *boot.features(guest, layout, machine, decision.accelerator, translation_buffer_mib),
            *cpu.element(processor),
            clock.element(guest, machine, decision.accelerator),
            E.on_poweroff("destroy"),
            E.on_reboot("restart"),
            E.on_crash("destroy"),
            E.devices(
                E.emulator(emulator),
                devices.usb_controller(guest, layout, machine, shown=shown),
                *disk.controllers(guest, layout, machine),
                *devices.serial_controller(guest, spice_agent=spice_agent),
                *disk.disks(guest, layout),
                *interface.interfaces(guest, machine),
                *console.serial(guest, layout, machine, served),
                *devices.agent_channel(guest),
                *graphics.agent_channel(guest, machine, served),
                *devices.inputs(guest, machine),
                *graphics.graphics(guest, machine, served),
                devices.video(guest, machine),
                devices.balloon(guest),
                *devices.random_source(guest),
                *devices.sound(guest, machine),
                *devices.watchdog(guest, machine),
            ),
        )
    except ValueError as error:  # lxml's word for such characters
        raise exceptions.InvalidParameter(
            "guest",
            guest.name,
            f"names and paths without control characters or broken encoding ({error})",
        ) from error
    if guest.packed_ring:
        virtio.pack(domain, machine)
    if machine.mmio:
        address.map_into_memory(domain)
    elif machine.express and guest.virtio is VirtioForm.VIRTIO:
        address.integrate(domain)
        address.add_ports(domain, hotplug_ports)
    return etree.tostring(domain, encoding="unicode", pretty_print=True)
