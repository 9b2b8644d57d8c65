# SPDX-License-Identifier: Apache-2.0
"""Options of this package among nova's, in nova's own files, with defaults that fit nova."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nova.conf
from oslo_config import cfg

from compute_driver import conf
from compute_driver.conf import hypervisor
from compute_driver.consoles import DisplayKind

#: How many interfaces a running instance can be given where nova's options do not say it; each
#: takes a port, which costs time only while firmware and kernel look for devices.
_HOTPLUG_PORTS = 4

#: Options of nova's group ``[spice]`` that are ours too.
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

    Where that says nothing, guests are run by the host's libvirt, everything is kept where nova
    keeps it and as long (options ``state_path``, ``instances_path`` and group ``[image_cache]``),
    consoles are served as groups ``[vnc]``, ``[spice]`` and ``[serial_console]`` have it, and
    running instances can be given as many interfaces as ``[libvirt] num_pcie_ports`` says.

    :raises cfg.Error: if a value cannot be used; names the option and what is accepted.
    :raises ValueError: the same, for types of oslo.config that raise it.
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
        **_consoles(nova_conf),
    }.items():
        nova_conf.set_default(name, default, group=hypervisor.GROUP.name)
    for option in hypervisor.OPTIONS:  # a bad value is refused when it is read
        nova_conf.hypervisor[option.dest]
    return nova_conf


def _hotplug_ports(nova_conf: cfg.ConfigOpts) -> int:
    """Return how many ports of PCI Express are spare; nova's number, up to 28, is that of all."""
    return min(nova_conf.libvirt.num_pcie_ports or _HOTPLUG_PORTS, hypervisor.MAX_HOTPLUG_PORTS)


def _consoles(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    served: dict[str, Any] = {
        f"{kind}_listen": nova_conf[kind].server_listen if nova_conf[kind].enabled else None
        for kind in DisplayKind
    }
    serial = nova_conf.serial_console
    served["serial_listen"] = serial.proxyclient_address if serial.enabled else None
    served["serial_port_range"] = serial.port_range
    return served | {f"spice_{name}": nova_conf.spice[name] for name in _SPICE}
