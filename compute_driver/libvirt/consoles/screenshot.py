# SPDX-License-Identifier: Apache-2.0
"""A picture of a guest's screen."""

from __future__ import annotations

import io

import libvirt
import PIL.Image

from compute_driver import exceptions

_CHUNK = 262144


def take(domain: libvirt.virDomain) -> bytes:
    """Return the first screen of a running domain as PNG.

    :raises GuestError: if it has no display.
    """
    stream = domain.connect().newStream(0)
    try:
        domain.screenshot(stream, 0, 0)
    except libvirt.libvirtError as error:
        if "no console to take" in str(error):  # QEMU's words, under libvirt's internal error
            raise exceptions.GuestError(f"guest {domain.name()!r} has no display") from error
        raise
    picture = io.BytesIO()
    while chunk := stream.recv(_CHUNK):
        picture.write(chunk)
    stream.finish()
    result = io.BytesIO()
    # QEMU delivers a portable pixmap.
    PIL.Image.open(picture, formats=["PPM", "PNG"]).save(result, format="PNG")
    return result.getvalue()
