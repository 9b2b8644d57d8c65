# SPDX-License-Identifier: Apache-2.0
"""A guest as libvirt's ``<domain>``: the list of all that it consists of, in reading order.

Source: libvirt, "Domain XML format".
"""

from __future__ import annotations

from lxml import etree

from compute_driver import architecture, exceptions
from compute_driver.acceleration import Decision
from compute_driver.guest import Guest
from compute_driver.storage.layout import Layout
from compute_driver.xml import boot, console, cpu, devices, disk, interface, metadata
from compute_driver.xml.elements import E


def build(
    guest: Guest, layout: Layout, decision: Decision, *, translation_buffer_mib: int = 0
) -> str:
    """Return the domain XML of a guest; the same arguments always give the same text.

    :param layout: where the guest's files are.
    :param decision: the guest's accelerator.
    :param translation_buffer_mib: see option ``tcg_translation_buffer_mib``.
    :raises InvalidParameter: if the guest's architecture lacks what is asked for, or a text
        holds characters that XML forbids.
    """
    facts = architecture.get(guest.architecture)
    try:
        domain = E.domain(
            {"type": decision.accelerator.domain_type},
            E.name(guest.name),
            E.uuid(guest.uuid),
            E.metadata(metadata.element(guest, layout.directory, decision)),
            E.memory(str(guest.memory_mib), unit="MiB"),
            E.vcpu(str(guest.vcpus)),
            boot.os(guest, layout, facts),
            *boot.features(layout, facts, decision.accelerator, translation_buffer_mib),
            *cpu.model(guest, facts, decision.accelerator),
            E.clock(offset="utc"),
            E.on_poweroff("destroy"),
            E.on_reboot("restart"),
            E.on_crash("destroy"),
            E.devices(
                *disk.controllers(layout, facts),
                *disk.disks(layout),
                *interface.interfaces(guest, facts),
                *console.serial(layout, facts),
                *devices.agent_channel(guest),
                devices.video(guest, facts),
                devices.balloon(),
                devices.random_source(),
            ),
        )
    except ValueError as error:  # lxml's word for such characters
        raise exceptions.InvalidParameter(
            "guest",
            guest.name,
            f"names and paths without control characters or broken encoding ({error})",
        ) from error
    return etree.tostring(domain, encoding="unicode", pretty_print=True)
