# SPDX-License-Identifier: Apache-2.0
"""Plugs guests' interfaces into bridges of Open vSwitch, by os-vif.

At each power-on libvirt makes the device of an interface, and the kernel removes the device with
the emulator.  os-vif makes the port of the same name after libvirt has made the device.  The port
is made anew each time: Open vSwitch's userspace datapath would keep the earlier device.

For a hybrid interface os-vif works before libvirt: os-vif makes a bridge, into which libvirt plugs
the device, and a pair of devices from the bridge to Open vSwitch; one of the pair is the port.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
import uuid as uuidlib
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Interface
from compute_driver.network import ovsdb
from compute_driver.network.backend import Backend, Form, Site, not_there
from compute_driver.system import concurrency

#: The external ID in which os-vif notes the guest of a port.
_GUEST = "vm-uuid"
#: The external ID in which this driver notes its directory of guests, since a host may have several
#: drivers.
_INSTANCES = "compute-driver-instances"

_OPTIONS = "os_vif_ovs"

_guard = threading.Lock()


class OpenVSwitch(Backend):
    """Ports of Open vSwitch."""

    def form(self, interface: Interface) -> Form:
        if interface.own_bridge is not None:
            return Form("bridge", {"bridge": interface.own_bridge})
        return Form("ethernet")  # libvirt makes the device, and does not plug it

    def check_interfaces(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        _check_ports(ovsdb.read_switch(_address(site.conf)), uuid, interfaces)

    def prepare(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> bool:
        switch = ovsdb.read_switch(_address(site.conf))
        _check_ports(switch, uuid, interfaces)
        _unplug(switch, uuid, interfaces)
        self._plug(site, uuid, interfaces, hybrid=True)
        return not all(interface.hybrid for interface in interfaces)

    def plug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        self._plug(site, uuid, interfaces, hybrid=False)

    def restore(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        switch = ovsdb.read_switch(_address(site.conf))
        for interface in interfaces:
            if interface.switch_port not in switch.ports:
                _check_ports(switch, uuid, [interface])
                if interface.hybrid:
                    _remove_pair(str(interface.switch_port))
                _add(site, switch, uuid, interface)

    def unplug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        _unplug(ovsdb.read_switch(_address(site.conf)), uuid, interfaces)

    def plugged(self, site: Site) -> dict[str, list[Interface]]:
        plugged: dict[str, list[Interface]] = {}
        try:
            ports = ovsdb.read_switch(_address(site.conf)).ports
        except exceptions.OpenVSwitchUnavailable:
            return plugged  # most hosts have no Open vSwitch
        for name, port in ports.items():
            noted = port.external_ids
            if noted.get(_INSTANCES) == str(site.instances):
                interface = Interface(
                    kind=InterfaceKind.OVS,
                    source=port.bridge,
                    mac=noted["attached-mac"],
                    port=noted["iface-id"],
                    hybrid=True,
                )
                if interface.switch_port != name:
                    interface = dataclasses.replace(interface, device=name, hybrid=False)
                plugged.setdefault(noted[_GUEST], []).append(interface)
        return plugged

    def _plug(
        self, site: Site, uuid: str, interfaces: Sequence[Interface], *, hybrid: bool
    ) -> None:
        wanted = [interface for interface in interfaces if interface.hybrid is hybrid]
        if not wanted:
            return
        switch = ovsdb.read_switch(_address(site.conf))
        _check_ports(switch, uuid, wanted)
        try:
            for interface in wanted:
                _add(site, switch, uuid, interface)
        except BaseException:
            self.unplug(site, uuid, interfaces)
            raise


def _add(site: Site, switch: ovsdb.Switch, uuid: str, interface: Interface) -> None:
    assert interface.source is not None
    assert interface.switch_port is not None
    _os_vif("plug", uuid, interface, switch.datapaths[interface.source])
    ovsdb.note(_address(site.conf), interface.switch_port, _INSTANCES, str(site.instances))


def _check_ports(switch: ovsdb.Switch, uuid: str, interfaces: Sequence[Interface]) -> None:
    for interface in interfaces:
        if interface.source not in switch.datapaths:
            raise not_there(interface, switch.datapaths)
        port = switch.ports.get(interface.switch_port or "")
        if port is not None and port.external_ids.get(_GUEST) != uuid:
            accepted = "a name that no other port of Open vSwitch has"
            raise exceptions.NotOnThisHost("nic device", interface.switch_port, accepted)


def _unplug(switch: ovsdb.Switch, uuid: str, interfaces: Sequence[Interface]) -> None:
    for interface in interfaces:
        port = switch.ports.get(interface.switch_port or "")
        if port is None and interface.hybrid:
            # The bridge and the devices may exist without the port.
            port = ovsdb.Port(interface.source or "", {_GUEST: uuid})
        if port is not None and port.external_ids.get(_GUEST) == uuid:
            plugged = dataclasses.replace(interface, source=port.bridge)
            _os_vif("unplug", uuid, plugged, switch.datapaths.get(port.bridge, ""))


def _remove_pair(port: str) -> None:
    """Remove a pair of devices without a port, if there is one.

    os-vif makes a port only for a new pair.
    """
    from vif_plug_ovs import linux_net

    linux_net.delete_net_dev(port)


def _os_vif(verb: str, uuid: str, interface: Interface, datapath: str) -> None:
    import os_vif
    import os_vif.exception
    from os_vif import objects

    # The identity of neutron's port, or else an identity that stays the same.
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
        # The text of os-vif's own error describes the interface over many lines.
        cause = error.__context__ or error
        raise exceptions.PlugFailed(
            f"cannot {verb} {interface.switch_port} of guest {uuid}, {InterfaceKind.OVS}="
            f"{interface.source}: {type(cause).__name__}: {cause}"
        ) from error


def _address(conf: cfg.ConfigOpts) -> str:
    """Return the address of the database, after os-vif has got the same address."""
    chosen: str | None = conf.hypervisor.ovsdb_connection
    if chosen is None and conf is not cfg.CONF:
        chosen = ovsdb.USUAL_ADDRESS
        if not os.path.exists(chosen.partition(":")[2]):
            raise exceptions.OpenVSwitchUnavailable(
                f"no Open vSwitch at {chosen}; see option ovsdb_connection of [hypervisor]"
            )
    with _guard:
        return _prepare(chosen)


@functools.lru_cache(maxsize=1)
def _prepare(address: str | None) -> str:
    """Make os-vif ready, again if the address changes.

    A process has one os-vif at a time, which reads oslo.config's global configuration.

    :param address: address of Open vSwitch's database; None leaves the choice to os-vif's options.
    :return: the address that os-vif uses.
    """
    import os_vif
    from vif_plug_ovs import ovs, privsep

    cfg.CONF.register_opts(ovs.OvsPlugin.CONFIG_OPTS, group=_OPTIONS)
    if address is not None:
        cfg.CONF.set_override("ovsdb_connection", address, group=_OPTIONS)
    os_vif.initialize(reset=True)
    helper: Any = cfg.CONF[privsep.vif_plug.cfg_section].helper_command
    if os.geteuid() == 0 and not helper and not concurrency.is_patched():
        # Root gains nothing by a helper process.
        privsep.vif_plug.set_client_mode(False)
    return str(cfg.CONF[_OPTIONS].ovsdb_connection)
