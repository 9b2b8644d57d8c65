# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]`` on how guests' screens are served."""

from __future__ import annotations

from oslo_config import cfg

_HARD = "It holds from the next power-on or hard reboot."

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
]
