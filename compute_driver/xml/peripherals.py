# SPDX-License-Identifier: Apache-2.0
"""Devices of which a guest has one or none.

Source: libvirt, "Domain XML format", "Devices".
"""

from __future__ import annotations

from compute_driver.choices import InputModel, VirtioForm
from compute_driver.hardware.description import Peripherals, Virtio
from compute_driver.xml.elements import E, Element

#: Inputs without an element: the guest has none, or the machine has them in any case.
_BUILT_IN = frozenset({InputModel.NONE, InputModel.PS2})


def usb_controller(peripherals: Peripherals) -> Element:
    """Return the USB controller."""
    return E.controller(type="usb", model=str(peripherals.usb))


def serial_controller(peripherals: Peripherals, virtio: Virtio) -> list[Element]:
    """Return the virtio controller of the agents' channels and of a virtio console.

    Without the element libvirt adds the controller, in the machine's default form.
    """
    if not peripherals.serial_bus:
        return []
    element = E.controller(type="virtio-serial", index="0")
    if virtio.form is not VirtioForm.VIRTIO:
        element.set("model", str(virtio.form))
    return [element]


def agent_channel(peripherals: Peripherals) -> list[Element]:
    """Return the channel at which the QEMU guest agent listens."""
    if not peripherals.guest_agent:
        return []
    target = E.target(type="virtio", name="org.qemu.guest_agent.0")
    return [E.channel({"type": "unix"}, target)]


def inputs(peripherals: Peripherals) -> list[Element]:
    """Return keyboard and pointer; the pointer sends absolute places, as remote screens need."""
    if peripherals.input in _BUILT_IN:
        return []
    return [E.input(type=kind, bus=str(peripherals.input)) for kind in ("keyboard", "tablet")]


def balloon(peripherals: Peripherals, virtio: Virtio, memory_stats_seconds: int) -> Element:
    """Return the memory balloon, by which the guest tells its use of memory.

    :param memory_stats_seconds: how often the guest does so; 0 means never.
    """
    if not peripherals.balloon:
        return E.memballoon(model="none")
    element = E.memballoon(model=str(virtio.form))
    if memory_stats_seconds:
        element.append(E.stats(period=str(memory_stats_seconds)))
    return element


def random_source(peripherals: Peripherals, virtio: Virtio) -> list[Element]:
    """Return the random number generator: a guest that just booted has no entropy of its own.

    The generator reads the host's source that never blocks the host.
    """
    return [
        E.rng(
            {"model": str(virtio.form)},
            *(
                E.rate({"bytes": str(rate.size_bytes), "period": str(rate.period_ms)})
                for rate in source.rate
            ),
            E.backend("/dev/urandom", model="random"),
        )
        for source in peripherals.random
    ]


def sound(peripherals: Peripherals) -> list[Element]:
    """Return the sound card; libvirt sends its sound to no device of the host."""
    return [E.sound(model=str(model)) for model in peripherals.sound]


def watchdog(peripherals: Peripherals) -> list[Element]:
    """Return the watchdog."""
    return [
        E.watchdog(model=str(watchdog.model), action=str(watchdog.action))
        for watchdog in peripherals.watchdog
    ]
