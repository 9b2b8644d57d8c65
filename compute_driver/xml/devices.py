# SPDX-License-Identifier: Apache-2.0
"""Devices of which a guest has one or none.

Source: libvirt, "Domain XML format", "Devices".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    InputModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
)
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.storage.layout import Layout
from compute_driver.xml.elements import E, Element

#: What needs no element: there is none, or the machine has it in any case.
_BUILT_IN = frozenset({InputModel.NONE, InputModel.PS2})

#: Those whose memory can be chosen; virtio's is the guest's.
_WITH_MEMORY = (VideoModel.VGA, VideoModel.QXL, VideoModel.BOCHS)


def usb_controller(guest: Guest, layout: Layout, machine: Machine, *, shown: bool) -> Element:
    """Return the USB controller; without devices there is none: an idle one costs time.

    :param shown: whether the screen is served.
    :raises InvalidParameter: if the machine does not take the guest's model, or if none is wanted
        where one is needed.
    """
    used = any(disk.bus is DiskBus.USB for disk in layout.disks)
    used = used or _input(guest, machine) is InputModel.USB or guest.sound is SoundModel.USB
    used = used or (shown and machine.usb_screen)
    needed = UsbModel.QEMU_XHCI if used else UsbModel.NONE
    model = architecture.demand("usb_model", guest.usb_model or needed, machine.usbs)
    if used and model is UsbModel.NONE:
        accepted = f"{UsbModel.QEMU_XHCI}, {UsbModel.NEC_XHCI}: devices of the guest need one"
        raise exceptions.InvalidParameter("usb_model", str(model), accepted)
    return E.controller(type="usb", model=str(model))


def serial_controller(guest: Guest, *, spice_agent: bool) -> list[Element]:
    """Return the virtio controller of the agents' channels and of a virtio console.

    libvirt would add it by itself, but as its machine's default.
    """
    if not (guest.guest_agent or spice_agent or guest.console is ConsoleModel.VIRTIO):
        return []
    element = E.controller(type="virtio-serial", index="0")
    if guest.virtio is not VirtioForm.VIRTIO:
        element.set("model", str(guest.virtio))
    return [element]


def agent_channel(guest: Guest) -> list[Element]:
    """Return the channel at which the QEMU guest agent listens, if the guest is to have it."""
    if not guest.guest_agent:
        return []
    target = E.target(type="virtio", name="org.qemu.guest_agent.0")
    return [E.channel({"type": "unix"}, target)]


def video(guest: Guest, machine: Machine) -> Element:
    """Return the display adapter.

    :raises InvalidParameter: if the machine does not take the guest's model, or if that has no
        memory of its own and the guest asks for some.
    """
    model = architecture.choose("video", guest.video, machine.videos)
    element = E.model(type=str(model))
    if guest.video_ram_mib is not None:
        if model not in _WITH_MEMORY:
            models = ", ".join(each for each in machine.videos if each in _WITH_MEMORY)
            accepted = f"nothing with video {model}" + (f", but with {models}" if models else "")
            raise exceptions.InvalidParameter("video_ram", guest.video_ram_mib, accepted)
        element.set("vram", str(guest.video_ram_mib * 1024))
    return E.video(element)


def inputs(guest: Guest, machine: Machine) -> list[Element]:
    """Return keyboard and pointer; the pointer's places are absolute, as remote screens want it.

    :raises InvalidParameter: if the machine does not take the guest's model.
    """
    model = _input(guest, machine)
    if model in _BUILT_IN:
        return []
    return [E.input(type=kind, bus=str(model)) for kind in ("keyboard", "tablet")]


def _input(guest: Guest, machine: Machine) -> InputModel:
    return architecture.choose("input", guest.input, machine.inputs)


def balloon(guest: Guest) -> Element:
    """Return the memory balloon, by which the guest tells how much memory it uses."""
    return E.memballoon(model=str(guest.virtio) if guest.balloon else "none")


def random_source(guest: Guest) -> list[Element]:
    """Return the random number generator: guests that just booted have no entropy of their own.

    It reads the source that never blocks the host.
    """
    if not guest.rng:
        return []
    element = E.rng({"model": str(guest.virtio)}, E.backend("/dev/urandom", model="random"))
    if guest.rng_rate is not None:
        limit = {"bytes": guest.rng_rate.size_bytes, "period": guest.rng_rate.period_ms}
        element.insert(0, E.rate({name: str(value) for name, value in limit.items()}))
    return [element]


def sound(guest: Guest, machine: Machine) -> list[Element]:
    """Return the sound card; libvirt leads what it plays nowhere.

    :raises InvalidParameter: if the machine does not take the guest's model.
    """
    if guest.sound is None:
        return []
    return [E.sound(model=str(architecture.demand("sound", guest.sound, machine.sounds)))]


def watchdog(guest: Guest, machine: Machine) -> list[Element]:
    """Return the watchdog, of the machine's kind.

    :raises InvalidParameter: if the machine has none.
    """
    if guest.watchdog is None:
        return []
    if not machine.watchdogs:
        accepted = f"nothing: machine {machine.name} has no watchdog"
        raise exceptions.InvalidParameter("watchdog", str(guest.watchdog), accepted)
    return [E.watchdog(model=str(machine.watchdogs[0]), action=str(guest.watchdog))]
