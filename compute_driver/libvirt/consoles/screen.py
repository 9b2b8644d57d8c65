# SPDX-License-Identifier: Apache-2.0
"""The screen of a running guest: its address, and a picture of it."""

from __future__ import annotations

import io

import libvirt
import PIL.Image
from lxml import etree

from compute_driver import consoles, exceptions
from compute_driver.consoles import DisplayKind
from compute_driver.info import Display
from compute_driver.xml import graphics

_CHUNK_BYTES = 262144


def find_display(domain: libvirt.virDomain, kind: DisplayKind | None) -> Display:
    """Return the address where QEMU serves the screen of a running domain.

    :param kind: the protocol; None accepts any, in the order of :class:`DisplayKind`.
    :raises ConsoleUnavailable: if QEMU does not serve the screen by this protocol.
    """
    displays = graphics.displays(etree.fromstring(domain.XMLDesc()))
    for display in sorted(displays, key=lambda display: list(DisplayKind).index(display.kind)):
        if kind in (None, display.kind):
            return display
    raise consoles.no_display(str(domain.name()), kind)


def take_screenshot(domain: libvirt.virDomain) -> bytes:
    """Return the first screen of a running domain as a PNG picture.

    :raises GuestError: if the domain has no display.
    """
    stream = domain.connect().newStream(0)
    try:
        domain.screenshot(stream, 0, 0)
    except libvirt.libvirtError as error:
        if "no console to take" in str(error):  # QEMU's words, in an internal error of libvirt
            raise exceptions.GuestError(f"guest {domain.name()!r} has no display") from error
        raise
    pixmap = io.BytesIO()
    while chunk := stream.recv(_CHUNK_BYTES):
        pixmap.write(chunk)
    stream.finish()
    picture = io.BytesIO()
    # QEMU sends a portable pixmap.  Pillow asks for the working directory, which may be gone, when
    # it saves an opened picture; for a copy it does not ask.
    PIL.Image.open(pixmap, formats=["PPM", "PNG"]).copy().save(picture, format="PNG")
    return picture.getvalue()
