# SPDX-License-Identifier: Apache-2.0
"""How a host serves its guests' consoles: its settings, which are no part of any guest."""

from __future__ import annotations

import dataclasses
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import Choice


class DisplayKind(Choice):
    """Protocols of remote screens, by libvirt's ``<graphics type=>`` words."""

    VNC = "vnc"
    SPICE = "spice"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spice:
    """How SPICE serves a screen; an empty text leaves a setting to QEMU.

    :param agent: whether there is a channel for SPICE's agent in the guest.
    :param secure: whether all its channels are encrypted.
    :param image_compression: see options ``spice_image_compression`` and so on.
    """

    agent: bool = True
    secure: bool = False
    image_compression: str = ""
    jpeg_compression: str = ""
    zlib_compression: str = ""
    playback_compression: str = ""
    streaming_mode: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """What is served of guests that are powered on from now on.

    :param displays: at which address screens are served, by protocol.
    :param spice: how SPICE does so.
    :param serial: at which address the serial console is served by TCP; None leaves it to libvirt's
        own clients.
    """

    displays: tuple[tuple[DisplayKind, str], ...] = ()
    spice: Spice = Spice()
    serial: str | None = None

    @classmethod
    def of(cls, options: Any) -> Served:
        """Return the settings in configuration.

        :param options: group ``[hypervisor]``.
        """
        addresses = {kind: options[f"{kind}_listen"] for kind in DisplayKind}
        return cls(
            displays=tuple((kind, address) for kind, address in addresses.items() if address),
            spice=Spice(
                agent=options.spice_agent_enabled,
                secure=options.spice_require_secure,
                **{name: _word(options[f"spice_{name}"]) for name in _SPICE},
            ),
            serial=options.serial_listen,
        )


def _word(value: str | bool | None) -> str:
    """Return libvirt's word for the value of an option."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value or ""


def no_display(guest: str, kind: DisplayKind | None) -> exceptions.ConsoleUnavailable:
    """Return the error of a guest whose screen is not served by *kind*, or not at all."""
    what = f"screen that {str(kind).upper()} serves" if kind else "screen that is served"
    return exceptions.ConsoleUnavailable(guest, what, f"{kind or DisplayKind.VNC}_listen")


def no_address(guest: str) -> exceptions.ConsoleUnavailable:
    """Return the error of a guest whose serial console is not served by TCP."""
    return exceptions.ConsoleUnavailable(guest, "serial console at a TCP port", "serial_listen")


def in_use(uuid: str) -> exceptions.GuestBusy:
    """Return the error of a guest whose serial console has another session."""
    return exceptions.GuestBusy(
        f"the console of guest {uuid} is open elsewhere; close it there first"
    )


#: Fields of :class:`Spice` that are named like their options.
_SPICE = (
    "image_compression",
    "jpeg_compression",
    "zlib_compression",
    "playback_compression",
    "streaming_mode",
)
