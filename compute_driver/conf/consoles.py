# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]`` for the consoles of guests."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

_HARD = "A change takes effect at the next power-on or hard reboot of a guest."


class PortRange(types.ConfigType):
    """A range of TCP ports, from the first to the last."""

    accepted = "FIRST:LAST, two ports of 1 to 65535, the lower one first"

    def __init__(self) -> None:
        super().__init__(type_name="range of ports")

    def __call__(self, value: Any) -> tuple[int, int]:
        """Return the first and the last port."""
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
        "127.0.0.1; 'display' shows the port. Unset, there is no VNC. Everybody who can connect to "
        "the address has the guest's keyboard, unless libvirt's qemu.conf sets vnc_tls or "
        f"vnc_password. {_HARD}",
    ),
    cfg.HostAddressOpt(
        "spice_listen",
        help="The same for SPICE, with spice_tls and spice_password. VNC and SPICE can be used at "
        "the same time.",
    ),
    cfg.BoolOpt(
        "spice_agent_enabled",
        default=True,
        help="Whether guests with SPICE get a channel for SPICE's agent, which shares the "
        "clipboard and sets the size of the screen.",
    ),
    cfg.BoolOpt(
        "spice_require_secure",
        default=False,
        help="Whether SPICE accepts encrypted connections only; libvirt's qemu.conf must set "
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
        help="Which parts of the screen SPICE sends as a video stream, with loss. Unset, QEMU "
        "decides.",
    ),
    cfg.HostAddressOpt(
        "serial_listen",
        help="Address at which QEMU serves each guest's serial console by TCP, such as 127.0.0.1; "
        "'console address' shows the port. Unset, only libvirt's clients can use the console. "
        "Everybody who can connect to the address has the guest's console, without a password. "
        f"{_HARD}",
    ),
    cfg.Opt(
        "serial_port_range",
        type=PortRange(),
        default="10000:20000",
        help="First and last TCP port for serial consoles; each running guest has one port.",
    ),
]
