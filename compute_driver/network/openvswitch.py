# SPDX-License-Identifier: Apache-2.0
"""Plugs guests' interfaces into bridges of Open vSwitch, by os-vif.

libvirt makes the device that an interface ends in, whenever the guest is powered on, and the kernel
removes it with the emulator.  os-vif makes the port of the same name, once the device is there and
anew each time: Open vSwitch's userspace datapath would hold on to the device of before.

Of a hybrid interface os-vif makes all but that device, before it: a bridge that libvirt plugs it
into, and from there to Open vSwitch a pair of devices, of which one is the port.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
import uuid as uuidlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Guest, Interface
from compute_driver.network import ovsdb
from compute_driver.system import concurrency

#: What os-vif notes with a port: whose it is.
_GUEST = "vm-uuid"
#: What we note besides: the directory of this driver's guests.  There may be other drivers.
_INSTANCES = "compute-driver-instances"

_OPTIONS = "os_vif_ovs"

_guard = threading.Lock()


def check(conf: cfg.ConfigOpts, guest: Guest) -> None:
    """Refuse interfaces whose bridge there is not, or whose name another port has.

    :raises InvalidParameter: names the bridges that there are.
    :raises OpenVSwitchUnavailable: if that cannot be found out.
    """
    interfaces = _ours(guest.interfaces)
    if interfaces:
        _check(ovsdb.read(_address(conf)), guest.uuid, interfaces)


def prepare(conf: cfg.ConfigOpts, guest: Guest, instances: Path) -> bool:
    """Unplug what was plugged in of a guest that is about to be powered on; plug hybrid ones.

    :param instances: the directory of all guests of this driver.
    :return: whether it has others, to be plugged in.
    :raises: see :func:`unplug` and :func:`plug`.
    """
    interfaces = _ours(guest.interfaces)
    if interfaces:
        switch = ovsdb.read(_address(conf))
        _check(switch, guest.uuid, interfaces)
        _unplug(switch, guest.uuid, interfaces)
    _plug(conf, guest, [each for each in interfaces if each.hybrid], instances)
    return not all(each.hybrid for each in interfaces)


def plug(conf: cfg.ConfigOpts, guest: Guest, instances: Path) -> None:
    """Plug those of a guest's interfaces that :func:`prepare`, called before, did not plug.

    To be called at each power-on, when libvirt has made their devices.

    :param instances: the directory of all guests of this driver.
    :raises InvalidParameter: see :func:`check`.
    :raises OpenVSwitchUnavailable: if Open vSwitch does not answer.
    :raises PlugFailed: if one cannot be plugged; then none of the guest's is.
    """
    interfaces = [each for each in _ours(guest.interfaces) if not each.hybrid]
    _plug(conf, guest, interfaces, instances)


def _plug(conf: cfg.ConfigOpts, guest: Guest, interfaces: list[Interface], instances: Path) -> None:
    if not interfaces:
        return
    address = _address(conf)
    switch = ovsdb.read(address)
    _check(switch, guest.uuid, interfaces)
    try:
        for interface in interfaces:
            assert interface.source is not None
            assert interface.switch_port is not None
            _os_vif("plug", guest.uuid, interface, switch.datapaths[interface.source])
            ovsdb.note(address, interface.switch_port, _INSTANCES, str(instances))
    except BaseException:
        unplug(conf, guest.uuid, guest.interfaces)
        raise


def unplug(conf: cfg.ConfigOpts, uuid: str, interfaces: Iterable[Interface]) -> None:
    """Unplug those of a guest's interfaces that are plugged in.

    :raises OpenVSwitchUnavailable: if Open vSwitch does not answer.
    :raises PlugFailed: if one cannot be unplugged.
    """
    ours = _ours(interfaces)
    if ours:
        _unplug(ovsdb.read(_address(conf)), uuid, ours)


def plugged(conf: cfg.ConfigOpts, instances: Path) -> dict[str, list[Interface]]:
    """Return what is plugged in of this driver's guests, by the guest's UUID.

    :param instances: the directory of all guests of this driver.
    """
    found: dict[str, list[Interface]] = {}
    try:
        ports = ovsdb.read(_address(conf)).ports
    except exceptions.OpenVSwitchUnavailable:
        return found  # most hosts do not have it
    for name, port in ports.items():
        said = port.external_ids
        if said.get(_INSTANCES) == str(instances):
            interface = Interface(
                kind=InterfaceKind.OVS,
                source=port.bridge,
                mac=said["attached-mac"],
                port=said["iface-id"],
                hybrid=True,
            )
            if interface.switch_port != name:
                interface = dataclasses.replace(interface, device=name, hybrid=False)
            found.setdefault(said[_GUEST], []).append(interface)
    return found


def _ours(interfaces: Iterable[Interface]) -> list[Interface]:
    return [interface for interface in interfaces if interface.kind is InterfaceKind.OVS]


def _check(switch: ovsdb.Switch, uuid: str, interfaces: list[Interface]) -> None:
    for interface in interfaces:
        if interface.source not in switch.datapaths:
            there = [f"{InterfaceKind.OVS}={name}" for name in switch.datapaths]
            value = f"{InterfaceKind.OVS}={interface.source}"
            raise exceptions.NotOnThisHost("nic", value, there or ["user"])
        port = switch.ports.get(interface.switch_port or "")
        if port is not None and port.external_ids.get(_GUEST) != uuid:
            accepted = "a name that no other port of Open vSwitch has"
            raise exceptions.NotOnThisHost("nic device", interface.switch_port, accepted)


def _unplug(switch: ovsdb.Switch, uuid: str, interfaces: list[Interface]) -> None:
    for interface in interfaces:
        port = switch.ports.get(interface.switch_port or "")
        if port is None and interface.hybrid:
            # What else it has may be there without it.
            port = ovsdb.Port(interface.source or "", {_GUEST: uuid})
        if port is not None and port.external_ids.get(_GUEST) == uuid:
            found = dataclasses.replace(interface, source=port.bridge)
            _os_vif("unplug", uuid, found, switch.datapaths.get(port.bridge, ""))


def _os_vif(verb: str, uuid: str, interface: Interface, datapath: str) -> None:
    import os_vif
    import os_vif.exception
    from os_vif import objects

    # The port's, or one that stays the same.
    identity = interface.port or str(uuidlib.uuid5(uuidlib.UUID(uuid), interface.mac))
    network = objects.network.Network(id=identity, bridge=interface.source)
    if interface.mtu is not None:
        network.mtu = interface.mtu
    profile = objects.vif.VIFPortProfileOpenVSwitch(
        interface_id=identity, datapath_type=datapath, create_port=True
    )
    fields = {
        "id": identity,
        "address": interface.mac,
        "network": network,
        "vif_name": interface.device,
        "plugin": "ovs",
        "port_profile": profile,
    }
    if interface.hybrid:
        vif = objects.vif.VIFBridge(bridge_name=interface.own_bridge, **fields)
    else:
        vif = objects.vif.VIFOpenVSwitch(**fields)
    info = objects.instance_info.InstanceInfo(uuid=uuid, name=uuid)
    try:
        getattr(os_vif, verb)(vif, info)
    except os_vif.exception.ExceptionBase as error:
        # Its text describes the interface over many lines.
        cause = error.__context__ or error
        raise exceptions.PlugFailed(
            f"cannot {verb} {interface.switch_port} of guest {uuid}, {InterfaceKind.OVS}="
            f"{interface.source}: {type(cause).__name__}: {cause}"
        ) from error


def _address(conf: cfg.ConfigOpts) -> str:
    """Return the address of the database, by which os-vif is ready to reach it, too."""
    chosen: str | None = conf.hypervisor.ovsdb_connection
    if chosen is None and conf is not cfg.CONF:
        chosen = ovsdb.USUAL_ADDRESS
        if not os.path.exists(chosen.partition(":")[2]):
            raise exceptions.OpenVSwitchUnavailable(
                f"no Open vSwitch at {chosen}; see option ovsdb_connection of [hypervisor]"
            )
    with _guard:
        return _prepare(chosen)


@functools.cache
def _prepare(address: str | None) -> str:
    """Make os-vif ready, once in a process: it has one configuration, oslo.config's global one.

    :param address: of Open vSwitch's database; None leaves it to that configuration.
    :return: the address that holds.
    """
    import os_vif
    from vif_plug_ovs import ovs, privsep

    cfg.CONF.register_opts(ovs.OvsPlugin.CONFIG_OPTS, group=_OPTIONS)
    if address is not None:
        cfg.CONF.set_override("ovsdb_connection", address, group=_OPTIONS)
    os_vif.initialize(reset=True)
    helper: Any = cfg.CONF[privsep.vif_plug.cfg_section].helper_command
    if os.geteuid() == 0 and not helper and not concurrency.is_patched():
        # Nothing is gained by a helper process with fewer rights than we have.
        privsep.vif_plug.set_client_mode(False)
    return str(cfg.CONF[_OPTIONS].ovsdb_connection)
