# SPDX-License-Identifier: Apache-2.0
"""The servers of the guest's screen: VNC and SPICE, at ports that libvirt chooses.

A guest without a server still has screenshots.

Source: libvirt, "Domain XML format", "Graphical framebuffers" and "Channel".
"""

from __future__ import annotations

from compute_driver import info
from compute_driver.consoles import DisplayKind, Spice
from compute_driver.hardware.description import Display
from compute_driver.xml.elements import E, Element

#: The words of ``virDomainGetXMLDesc`` for no port.
_NO_PORT = ("", "-1", "0")


def graphics(display: Display) -> list[Element]:
    """Return one ``<graphics>`` for each protocol that serves the screen."""
    return [_graphics(kind, address, display.spice) for kind, address in display.screens]


def video(display: Display) -> Element:
    """Return the display adapter."""
    element = E.model(type=str(display.model))
    if display.memory_mib:
        element.set("vram", str(display.memory_mib * 1024))
    return E.video(element)


def agent_channel(display: Display) -> list[Element]:
    """Return the channel at which SPICE's agent listens."""
    if not display.spice_agent:
        return []
    target = E.target(type="virtio", name="com.redhat.spice.0")
    return [E.channel({"type": "spicevmc"}, target)]


def displays(domain: Element) -> list[info.Display]:
    """Return the addresses that serve the screen of a running domain, by the domain's live XML."""
    served = []
    for element in domain.iterfind("devices/graphics"):
        port, tls_port = _port(element.get("port")), _port(element.get("tlsPort"))
        if element.get("type") in list(DisplayKind) and (port or tls_port):
            served.append(
                info.Display(
                    kind=DisplayKind(element.get("type", "")),
                    host=element.get("listen", ""),
                    port=port,
                    tls_port=tls_port,
                )
            )
    return served


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
    settings = (
        (E.image, "compression", spice.image_compression),
        (E.jpeg, "compression", spice.jpeg_compression),
        (E.zlib, "compression", spice.zlib_compression),
        (E.playback, "compression", spice.playback_compression),
        (E.streaming, "mode", spice.streaming_mode),
    )
    return [make({name: word}) for make, name, word in settings if word]


def _port(text: str | None) -> int | None:
    return None if text is None or text in _NO_PORT else int(text)
