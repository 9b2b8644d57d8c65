# SPDX-License-Identifier: Apache-2.0
"""What interfaces of each kind are plugged into."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver import conf, exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Disk, Guest, Interface
from compute_driver.libvirt import domain as domains
from compute_driver.limits import Bandwidth
from compute_driver.network import kinds, native
from compute_driver.network.backend import Backend, Form, Site
from compute_driver.network.ports import Ports
from compute_driver.system import tools

PORT = "0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1"
INTERFACES = {
    InterfaceKind.USER: Interface(),
    InterfaceKind.NETWORK: Interface(kind=InterfaceKind.NETWORK, source="default"),
    InterfaceKind.BRIDGE: Interface(kind=InterfaceKind.BRIDGE, source="br0"),
    InterfaceKind.OVS: Interface(kind=InterfaceKind.OVS, source="br-int"),
}


def guest(*interfaces: Interface) -> Guest:
    return Guest(
        uuid=PORT, name="a", architecture="x86_64", root=Disk(size_bytes=512), interfaces=interfaces
    )


def site(*networks: str) -> Site:
    """Return a site whose libvirt has some networks."""
    connection = mock.create_autospec(libvirt.virConnect, instance=True)
    connection.listAllNetworks.return_value = [
        mock.Mock(**{"name.return_value": n}) for n in networks
    ]

    def call(function: Callable[[libvirt.virConnect], Any]) -> Any:
        return function(connection)

    return Site(conf.load([]), Path("/guests"), call, domains.interfaces)


class FormTest(unittest.TestCase):
    def test_each_kind_has_one(self) -> None:
        expected = {
            InterfaceKind.USER: Form("user"),
            InterfaceKind.NETWORK: Form("network", {"network": "default"}),
            InterfaceKind.BRIDGE: Form("bridge", {"bridge": "br0"}),
            InterfaceKind.OVS: Form("ethernet"),
        }
        found = {kind: kinds.BACKENDS[kind].form(INTERFACES[kind]) for kind in InterfaceKind}
        self.assertEqual(expected, found)

    def test_hybrid_interface_is_in_a_bridge_of_its_own(self) -> None:
        hybrid = Interface(kind=InterfaceKind.OVS, source="br-int", port=PORT, hybrid=True)
        form = kinds.BACKENDS[InterfaceKind.OVS].form(hybrid)
        self.assertEqual(Form("bridge", {"bridge": f"qbr{PORT[:11]}"}), form)


class CheckTest(unittest.TestCase):
    def refused(self, interface: Interface) -> str:
        with self.assertRaises(exceptions.NotOnThisHost) as caught:
            Ports(site("default", "other")).check_interfaces(guest(interface))
        return str(caught.exception)

    def test_network_that_libvirt_has_not_names_its_networks(self) -> None:
        text = self.refused(Interface(kind=InterfaceKind.NETWORK, source="none"))
        self.assertIn("network=none", text)
        self.assertIn("network=default, network=other", text)

    def test_bridge_that_the_host_has_not(self) -> None:
        with mock.patch.object(native, "DEVICES", Path("/nowhere")):
            text = self.refused(INTERFACES[InterfaceKind.BRIDGE])
        self.assertIn("bridge=br0", text)
        self.assertIn("accepted: user, because this host has no usable bridge", text)

    def test_what_the_host_has_is_accepted(self) -> None:
        usual = (INTERFACES[InterfaceKind.USER], INTERFACES[InterfaceKind.NETWORK])
        Ports(site("default")).check_interfaces(guest(*usual))

    def test_limits_need_a_program(self) -> None:
        limited = Interface(
            kind=InterfaceKind.NETWORK, source="default", inbound=Bandwidth(average=1000)
        )
        with (
            mock.patch.object(tools, "locate", autospec=True, return_value=None),
            self.assertRaisesRegex(exceptions.MissingDependency, "iproute2"),
        ):
            Ports(site("default")).check_interfaces(guest(limited))


class StepsTest(unittest.TestCase):
    """Two kinds are plugged in by backends that note their calls."""

    def setUp(self) -> None:
        self.first, self.second = (mock.create_autospec(Backend, instance=True) for _ in range(2))
        rows = {InterfaceKind.BRIDGE: self.first, InterfaceKind.OVS: self.second}
        patch = mock.patch.dict(kinds.BACKENDS, rows)
        patch.start()
        self.addCleanup(patch.stop)
        self.site = site()
        self.ports = Ports(self.site)
        wanted = [INTERFACES[kind] for kind in (InterfaceKind.OVS, InterfaceKind.BRIDGE)]
        self.guest = guest(*wanted, INTERFACES[InterfaceKind.USER])
        self.own = (self.site, PORT, [INTERFACES[InterfaceKind.BRIDGE]])

    def test_each_backend_gets_interfaces_of_its_own_kind(self) -> None:
        self.ports.unplug(PORT, self.guest.interfaces)
        self.first.unplug.assert_called_once_with(*self.own)
        self.second.unplug.assert_called_once_with(self.site, PORT, [INTERFACES[InterfaceKind.OVS]])

    def test_backend_without_interfaces_is_left_alone(self) -> None:
        self.ports.plug(guest(INTERFACES[InterfaceKind.OVS]))
        self.first.plug.assert_not_called()
        self.second.plug.assert_called_once()

    def test_all_are_prepared_whichever_is_left_to_plug(self) -> None:
        for answers in ((True, False), (False, True), (False, False)):
            self.first.prepare.return_value, self.second.prepare.return_value = answers
            with self.subTest(answers):
                self.assertIs(any(answers), self.ports.prepare(self.guest))
        self.assertEqual(3, self.second.prepare.call_count)

    def test_failure_unplugs_what_others_have_plugged(self) -> None:
        for step in ("prepare", "plug"):
            self.first.unplug.reset_mock()
            getattr(self.second, step).side_effect = exceptions.PlugFailed("no")
            with self.subTest(step), self.assertRaises(exceptions.PlugFailed):
                getattr(self.ports, step)(self.guest)
            self.first.unplug.assert_called_once_with(*self.own)
            self.second.unplug.assert_not_called()

    def test_plugged_interfaces_of_all_kinds_are_returned_by_guest(self) -> None:
        bridge, switch = INTERFACES[InterfaceKind.BRIDGE], INTERFACES[InterfaceKind.OVS]
        self.first.plugged.return_value = {PORT: [bridge]}
        self.second.plugged.return_value = {PORT: [switch], "other": [switch]}
        self.assertEqual({PORT: [bridge, switch], "other": [switch]}, self.ports.plugged())
