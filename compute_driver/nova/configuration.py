# SPDX-License-Identifier: Apache-2.0
"""Options of this package in nova's configuration files, with defaults from nova's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nova.conf
from oslo_config import cfg

from compute_driver import conf
from compute_driver.conf import hypervisor
from compute_driver.consoles import DisplayKind

#: The default number of interfaces that a running instance can get.  Every interface takes a port
#: of PCI Express; a port costs time only while firmware and kernel look for devices.
_HOTPLUG_PORTS = 4

#: Options that nova's group ``[spice]`` and this package both have.
_SPICE = (
    "agent_enabled",
    "image_compression",
    "jpeg_compression",
    "playback_compression",
    "require_secure",
    "streaming_mode",
    "zlib_compression",
)


def register() -> cfg.ConfigOpts:
    """Return nova's configuration with group ``[hypervisor]``.

    The group's defaults come from nova's options.  The host's libvirt runs the guests.  Files are
    in nova's directories, for nova's times (options ``state_path`` and ``instances_path``, group
    ``[image_cache]``).  Consoles have the addresses of groups ``[vnc]``, ``[spice]`` and
    ``[serial_console]``.  Option ``[libvirt] mem_stats_period_seconds`` sets how often guests tell
    their use of memory.  Option ``[libvirt] num_pcie_ports`` limits the interfaces that a running
    instance can get.

    :raises cfg.Error: if an option has a bad value; names the option and the accepted values.
    :raises ValueError: likewise, from some types of oslo.config.
    """
    nova_conf: cfg.ConfigOpts = nova.conf.CONF
    conf.register(nova_conf)
    instances = Path(nova_conf.instances_path)
    for name, default in {
        "connection_uri": "qemu:///system",
        "state_path": str(Path(nova_conf.state_path) / conf.PROJECT),
        "instances_path": str(instances),
        "image_cache_path": str(instances / nova_conf.image_cache.subdirectory_name),
        "image_unused_seconds": nova_conf.image_cache.remove_unused_original_minimum_age_seconds,
        "hotplug_ports": _hotplug_ports(nova_conf),
        # Nova's option may be negative, which means never.
        "memory_stats_seconds": max(0, nova_conf.libvirt.mem_stats_period_seconds),
        **_consoles(nova_conf),
    }.items():
        nova_conf.set_default(name, default, group=hypervisor.GROUP.name)
    for option in hypervisor.OPTIONS:  # reading an option refuses a bad value
        nova_conf.hypervisor[option.dest]
    return nova_conf


def _hotplug_ports(nova_conf: cfg.ConfigOpts) -> int:
    """Return the number of free PCI Express ports; nova's option counts all ports, up to 28."""
    return min(nova_conf.libvirt.num_pcie_ports or _HOTPLUG_PORTS, hypervisor.MAX_HOTPLUG_PORTS)


def _consoles(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        f"{kind}_listen": nova_conf[kind].server_listen if nova_conf[kind].enabled else None
        for kind in DisplayKind
    }
    serial = nova_conf.serial_console
    defaults["serial_listen"] = serial.proxyclient_address if serial.enabled else None
    defaults["serial_port_range"] = serial.port_range
    return defaults | {f"spice_{name}": nova_conf.spice[name] for name in _SPICE}
