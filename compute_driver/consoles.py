# SPDX-License-Identifier: Apache-2.0
"""How a host serves its guests' consoles: settings of the host, not of a guest."""

from __future__ import annotations

import dataclasses
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import Choice

#: The lines around the SSH host keys that cloud-init writes to a serial console.
#: Source: cloud-init, ``write-ssh-key-fingerprints``.
HOST_KEYS_BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
HOST_KEYS_END = "-----END SSH HOST KEY KEYS-----"


class DisplayKind(Choice):
    """Protocols of remote screens, by libvirt's ``<graphics type=>`` words."""

    VNC = "vnc"
    SPICE = "spice"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spice:
    """How SPICE serves a screen; an empty text leaves a setting to QEMU.

    :param agent: whether the guest has a channel for SPICE's agent.
    :param secure: whether all of SPICE's channels are encrypted.
    :param image_compression: see option ``spice_image_compression``; likewise the other fields.
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
    """The consoles of guests that are powered on from now on.

    :param displays: protocols that serve the screen, with their addresses.
    :param spice: how SPICE serves the screen.
    :param serial: address at which the serial console is served by TCP; None if only libvirt's
        clients can use the console.
    """

    displays: tuple[tuple[DisplayKind, str], ...] = ()
    spice: Spice = Spice()
    serial: str | None = None

    @classmethod
    def of(cls, options: Any) -> Served:
        """Return the settings of the configuration.

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
    """Return the error for a guest whose screen is not served by *kind*, or by no protocol."""
    screen = f"screen that {str(kind).upper()} serves" if kind else "screen that is served"
    return exceptions.ConsoleUnavailable(guest, screen, f"{kind or DisplayKind.VNC}_listen")


def no_address(guest: str) -> exceptions.ConsoleUnavailable:
    """Return the error for a guest whose serial console is not served by TCP."""
    return exceptions.ConsoleUnavailable(guest, "serial console at a TCP port", "serial_listen")


def in_use(guest: str) -> exceptions.GuestBusy:
    """Return the error for a guest whose serial console has another session."""
    return exceptions.GuestBusy(
        f"the console of guest {guest!r} is open elsewhere; close it there first"
    )


def not_shown(guest: str, text: str, timeout: float) -> exceptions.OperationTimeout:
    """Return the error for a guest whose serial console did not show a text in time."""
    return exceptions.OperationTimeout(
        f"the console of guest {guest!r} did not show {text!r} within {timeout:g} s"
    )


#: Fields of :class:`Spice` with the names of their options.
_SPICE = (
    "image_compression",
    "jpeg_compression",
    "zlib_compression",
    "playback_compression",
    "streaming_mode",
)
