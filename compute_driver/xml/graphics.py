# SPDX-License-Identifier: Apache-2.0
"""The guest's screen as others see it: by VNC and SPICE, at ports that libvirt chooses.

Without them it still can be photographed.

Source: libvirt, "Domain XML format", "Graphical framebuffers" and "Channel".
"""

from __future__ import annotations

from compute_driver.choices import VideoModel
from compute_driver.consoles import DisplayKind, Served, Spice
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.info import Display
from compute_driver.xml.elements import ON_OFF, E, Element

#: What ``virDomainGetXMLDesc`` says of a port that is not there.
_NO_PORT = ("", "-1", "0")


def graphics(guest: Guest, machine: Machine, served: Served) -> list[Element]:
    """Return one ``<graphics>`` for each protocol; none for a guest without a display adapter."""
    return [
        _graphics(kind, address, served.spice) for kind, address in _shown(guest, machine, served)
    ]


def kinds(guest: Guest, machine: Machine, served: Served) -> list[DisplayKind]:
    """Return the protocols by which the guest's screen is served."""
    return [kind for kind, _ in _shown(guest, machine, served)]


def has_spice_agent(guest: Guest, machine: Machine, served: Served) -> bool:
    """Tell whether SPICE's agent can be reached in the guest."""
    return served.spice.agent and DisplayKind.SPICE in kinds(guest, machine, served)


def agent_channel(guest: Guest, machine: Machine, served: Served) -> list[Element]:
    """Return the channel at which SPICE's agent listens."""
    if not has_spice_agent(guest, machine, served):
        return []
    target = E.target(type="virtio", name="com.redhat.spice.0")
    return [E.channel({"type": "spicevmc"}, target)]


def displays(domain: Element) -> list[Display]:
    """Return where the screen of a running domain is served, by its live XML."""
    found = []
    for element in domain.iterfind("devices/graphics"):
        port, tls_port = _port(element.get("port")), _port(element.get("tlsPort"))
        if element.get("type") in list(DisplayKind) and (port or tls_port):
            found.append(
                Display(
                    kind=DisplayKind(element.get("type", "")),
                    host=element.get("listen", ""),
                    port=port,
                    tls_port=tls_port,
                )
            )
    return found


def _shown(guest: Guest, machine: Machine, served: Served) -> tuple[tuple[DisplayKind, str], ...]:
    model = architecture.choose("video", guest.video, machine.videos)
    return () if model is VideoModel.NONE else served.displays


def _graphics(kind: DisplayKind, address: str, spice: Spice) -> Element:
    element = E.graphics(
        {"type": str(kind), "autoport": "yes"}, E.listen(type="address", address=address)
    )
    if kind is DisplayKind.SPICE:
        if spice.secure:
            element.set("defaultMode", "secure")
        element.extend(_tuning(spice))
    return element


def _tuning(spice: Spice) -> list[Element]:
    playback = spice.playback_compression
    said = (
        (E.image, "compression", spice.image_compression),
        (E.jpeg, "compression", spice.jpeg_compression),
        (E.zlib, "compression", spice.zlib_compression),
        (E.playback, "compression", None if playback is None else ON_OFF[playback]),
        (E.streaming, "mode", spice.streaming_mode),
    )
    return [make({name: value}) for make, name, value in said if value is not None]


def _port(text: str | None) -> int | None:
    return None if text is None or text in _NO_PORT else int(text)
