# SPDX-License-Identifier: Apache-2.0
"""Devices of which a guest has one or none.

Source: libvirt, "Domain XML format", "Devices".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.architecture import Architecture
from compute_driver.guest import Guest
from compute_driver.xml.elements import E, Element


def agent_channel(guest: Guest) -> list[Element]:
    """Return the channel at which the QEMU guest agent listens, if the guest is to have it."""
    if not guest.guest_agent:
        return []
    target = E.target(type="virtio", name="org.qemu.guest_agent.0")
    return [E.channel({"type": "unix"}, target)]


def video(guest: Guest, facts: Architecture) -> Element:
    """Return the display adapter; without a graphics server it still can be photographed.

    :raises InvalidParameter: if the architecture's machines do not take the guest's model.
    """
    model = guest.video or facts.videos[0]
    if model not in facts.videos:
        raise exceptions.InvalidParameter(
            "video", str(model), [str(accepted) for accepted in facts.videos]
        )
    return E.video(E.model(type=str(model)))


def balloon() -> Element:
    """Return the memory balloon, by which the guest tells how much memory it uses."""
    return E.memballoon(model="virtio")


def random_source() -> Element:
    """Return the random number generator: guests that just booted have no entropy of their own.

    It reads the source that never blocks the host.
    """
    return E.rng({"model": "virtio"}, E.backend("/dev/urandom", model="random"))
