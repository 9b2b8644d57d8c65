# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]`` on how guests' consoles are served."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

_HARD = "It holds from the next power-on or hard reboot."


class PortRange(types.ConfigType):
    """The first and the last of some TCP ports."""

    accepted = "FIRST:LAST, two ports of 1 to 65535, the lower one first"

    def __init__(self) -> None:
        super().__init__(type_name="range of ports")

    def __call__(self, value: Any) -> tuple[int, int]:
        """Return both."""
        words = value if isinstance(value, tuple) else str(value).split(":")
        first, last = map(int, words)
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{value!r} is no range of ports such as 10000:20000")
        return first, last

    def __repr__(self) -> str:
        return "PortRange"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def _formatter(self, value: str | tuple[int, int]) -> str:
        return value if isinstance(value, str) else ":".join(map(str, value))


OPTIONS = [
    cfg.HostAddressOpt(
        "vnc_listen",
        help="Address at which QEMU serves each guest's screen and keyboard by VNC, such as "
        "127.0.0.1; 'display' tells the port. Unset, it does not. Whoever reaches the address has "
        "the guest's keyboard, unless vnc_tls or vnc_password of libvirt's qemu.conf say "
        f"otherwise. {_HARD}",
    ),
    cfg.HostAddressOpt(
        "spice_listen",
        help="The same for SPICE, with spice_tls and spice_password. Both can be served at once.",
    ),
    cfg.BoolOpt(
        "spice_agent_enabled",
        default=True,
        help="Whether guests that SPICE serves get a channel for its agent, by which clipboard "
        "and screen size are passed on.",
    ),
    cfg.BoolOpt(
        "spice_require_secure",
        default=False,
        help="Whether SPICE takes encrypted connections only; libvirt's qemu.conf has to have "
        "spice_tls then.",
    ),
    cfg.StrOpt(
        "spice_image_compression",
        choices=["auto_glz", "auto_lz", "quic", "glz", "lz", "off"],
        help="How SPICE compresses images without loss. Unset, QEMU decides.",
    ),
    cfg.StrOpt(
        "spice_jpeg_compression",
        choices=["auto", "never", "always"],
        help="Whether SPICE compresses images with loss. Unset, QEMU decides.",
    ),
    cfg.StrOpt(
        "spice_zlib_compression",
        choices=["auto", "never", "always"],
        help="Whether SPICE compresses images once more for slow lines. Unset, QEMU decides.",
    ),
    cfg.BoolOpt(
        "spice_playback_compression",
        help="Whether SPICE compresses sound. Unset, QEMU decides.",
    ),
    cfg.StrOpt(
        "spice_streaming_mode",
        choices=["filter", "all", "off"],
        help="What SPICE sends as a video stream, with loss. Unset, QEMU decides.",
    ),
    cfg.HostAddressOpt(
        "serial_listen",
        help="Address at which QEMU serves each guest's serial console by TCP, such as 127.0.0.1; "
        "'console address' tells the port. Unset, libvirt's clients alone have it. Whoever reaches "
        f"the address has the guest's console: TCP asks for no password. {_HARD}",
    ),
    cfg.Opt(
        "serial_port_range",
        type=PortRange(),
        default="10000:20000",
        help="First and last of the TCP ports for serial consoles; each guest that runs has one.",
    ),
]
