# SPDX-License-Identifier: Apache-2.0
"""Guests on hosts whose operator serves consoles, or has other settings."""

from __future__ import annotations

from compute_driver.choices import ConsoleModel, InterfaceKind, NicModel, VideoModel
from compute_driver.consoles import DisplayKind, Served, Spice
from compute_driver.guest import ConfigDrive, Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.hardware.settings import Settings
from tests.unit.xml.base import NOTHING, TCG, guest, nic

#: Guests whose consoles are served, and how.
SERVED: dict[str, tuple[Guest, Decision, Served]] = {
    "ppc64le-vnc": (
        guest(architecture="ppc64le"),
        TCG,
        Served(displays=((DisplayKind.VNC, "127.0.0.1"),)),
    ),
    "vnc": (guest(), TCG, Served(displays=((DisplayKind.VNC, "192.0.2.7"),))),
    "vnc-and-spice": (
        guest(),
        TCG,
        Served(
            displays=((DisplayKind.VNC, "127.0.0.1"), (DisplayKind.SPICE, "::1")),
            spice=Spice(
                image_compression="auto_glz",
                jpeg_compression="auto",
                zlib_compression="never",
                playback_compression="off",
                streaming_mode="filter",
            ),
        ),
    ),
    "spice-alone-and-secure": (
        guest(guest_agent=False, video=VideoModel.QXL),
        TCG,
        Served(displays=((DisplayKind.SPICE, "127.0.0.1"),), spice=Spice(agent=True, secure=True)),
    ),
    "serial-at-tcp": (guest(), TCG, Served(serial="192.0.2.7")),
    "s390x-sclp-at-tcp": (guest(architecture="s390x"), TCG, Served(serial="::")),
    "virtio-console-at-tcp": (
        guest(console=ConsoleModel.VIRTIO),
        TCG,
        Served(serial="127.0.0.1"),
    ),
    "spice-without-agent": (
        guest(guest_agent=False),
        TCG,
        Served(displays=((DisplayKind.SPICE, "127.0.0.1"),), spice=Spice(agent=False)),
    ),
}

#: Guests on hosts with settings of the operator.
SET: dict[str, tuple[Guest, Decision, Served, Settings]] = {
    "settings": (
        guest(
            vcpus=4,
            config_drive=ConfigDrive(hostname="web1"),
            interfaces=(
                nic(1, kind=InterfaceKind.OVS, source="br-int", queues=4),
                nic(2, model=NicModel.E1000),
            ),
        ),
        TCG,
        NOTHING,
        Settings(
            guest_cpus="2-5,8",
            disk_cache_modes={"file": "directsync", "block": "none"},
            disk_discard="ignore",
            nic_rx_queue_size=1024,
            nic_max_queues=2,
        ),
    ),
}
