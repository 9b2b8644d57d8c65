# SPDX-License-Identifier: Apache-2.0
"""Interfaces are attached, detached and replaced, or nova hears of the failure."""

from __future__ import annotations

from unittest import mock

from nova import exception, objects
from nova.compute import power_state
from nova.conf import CONF
from nova.network import model

from compute_driver import exceptions
from compute_driver.drivers import fake
from compute_driver.guest import Guest
from tests.nova.base import PORT, NovaCase


class InterfaceTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        self.instance_ = self.instance()
        self.vif = model.VIF(
            id=PORT,
            address="fa:16:3e:00:00:01",
            type="ovs",
            details={},
            devname="tapb4f4d4a7-3a",
            network=model.Network(bridge="br-int", meta={}, subnets=[]),
        )

    def attach(self) -> None:
        self.driver.attach_interface(self.context, self.instance_, self.image(), self.vif)

    def guest(self) -> Guest:
        return self.driver._driver.show(self.instance_.uuid).guest

    def tag(self) -> None:
        self.vifs.append(objects.VirtualInterface(address=self.vif["address"], tag="blue"))

    def test_attached_and_detached(self) -> None:
        self.spawn(self.instance_)
        self.attach()
        self.assertEqual([PORT], [nic.port for nic in self.guest().interfaces])
        for _twice in range(2):
            self.driver.detach_interface(self.context, self.instance_, self.vif)
            self.assertEqual((), self.guest().interfaces)
        self.saved.assert_not_called()

    def test_tag_is_in_the_metadata(self) -> None:
        self.spawn(self.instance_)
        self.tag()
        self.attach()
        (device,) = self.instance_.device_metadata.devices
        self.assertEqual(["blue"], device.tags)
        self.assertEqual((self.vif["address"], "0000:01:00.0"), (device.mac, device.bus.address))
        self.saved.assert_called_once_with()
        self.driver.detach_interface(self.context, self.instance_, self.vif)
        self.assertIsNone(self.instance_.device_metadata)

    def test_tag_is_in_the_metadata_at_boot(self) -> None:
        self.tag()
        self.vif["details"] = {"vlan": 7}
        self.spawn(self.instance_, vifs=[self.vif])
        (device,) = self.instance_.device_metadata.devices
        self.assertEqual((["blue"], 7), (device.tags, device.vlan))

    def test_failures_are_nova_s(self) -> None:
        self.spawn(self.instance_)
        for changes in ({"type": "unbound"}, {"type": "binding_failed"}, {"vnic_type": "direct"}):
            with self.subTest(changes), self.assertRaises(exception.InterfaceAttachFailed):
                self.driver.attach_interface(
                    *(self.context, self.instance_, self.image(), {**self.vif, **changes})
                )
        self.tag()
        self.saved.side_effect = exception.InstanceNotFound(instance_id="x")
        with self.assertRaises(exception.InterfaceAttachFailed):
            self.attach()
        self.assertEqual((), self.guest().interfaces)
        busy = mock.patch.object(
            fake.FakeDriver, "detach_interface", side_effect=exceptions.DeviceBusy("it is busy")
        )
        with busy, self.assertRaises(exception.InterfaceAttachFailed) as caught:
            self.attach()
        self.assertIsInstance(caught.exception.__cause__, exception.InstanceNotFound)
        self.saved.side_effect = None
        self.driver.detach_interface(self.context, self.instance_, self.vif)
        self.attach()
        with busy, self.assertRaisesRegex(exception.InterfaceDetachFailed, "it is busy"):
            self.driver.detach_interface(self.context, self.instance_, self.vif)
        self.driver.destroy(self.context, self.instance_, [])
        with self.assertRaises(exception.InstanceNotFound):
            self.attach()

    def test_unbound_port_sends_the_build_to_another_host(self) -> None:
        self.vif["type"] = "binding_failed"
        with self.assertRaises(exception.VirtualInterfacePlugException):
            self.spawn(self.instance_, vifs=[self.vif])

    def test_ports_are_nova_s_after_hard_reboot_and_power_on(self) -> None:
        self.spawn(self.instance_)
        for change, vifs in (
            (lambda vifs: self.driver.reboot(self.context, self.instance_, vifs, "HARD"), 1),
            (lambda vifs: self.driver.reboot(self.context, self.instance_, vifs, "HARD"), 0),
            (lambda vifs: self.driver.power_off(self.instance_), 0),
            (lambda vifs: self.driver.power_on(self.context, self.instance_, vifs), 1),
            (lambda vifs: self.driver.reboot(self.context, self.instance_, None, "HARD"), 1),
        ):
            change([self.vif] * vifs)
            self.assertEqual(vifs, len(self.guest().interfaces))
        self.assertEqual(power_state.RUNNING, self.driver.get_info(self.instance_).state)

    def test_hard_reboot_waits_for_neutron_if_nova_s_option_says_so(self) -> None:
        self.spawn(self.instance_, vifs=[self.vif])
        option = "wait_for_vif_plugged_event_during_hard_reboot"
        self.addCleanup(CONF.clear_override, option, "workarounds")
        for kinds, waited in (([], []), (["direct"], []), (["normal"], [PORT])):
            with self.subTest(kinds):
                CONF.set_override(option, kinds, "workarounds")
                self.virtapi.waited.clear()
                self.driver.reboot(self.context, self.instance_, [self.vif], "HARD")
                self.assertEqual(
                    [("network-vif-plugged", port) for port in waited], self.virtapi.waited
                )

    def test_ports_are_plugged_in_when_nova_starts(self) -> None:
        self.driver.plug_vifs(self.instance_, [])  # of a guest that is not here
        self.spawn(self.instance_)
        with mock.patch.object(fake.FakeDriver, "plug_interfaces") as plug:
            self.driver.plug_vifs(self.instance_, [self.vif])
        plug.assert_called_once_with(self.instance_.uuid)
        refusal = mock.patch.object(
            fake.FakeDriver,
            "plug_interfaces",
            side_effect=exceptions.OpenVSwitchUnavailable("down"),
        )
        with refusal, self.assertRaises(exception.VirtualInterfacePlugException):
            self.driver.plug_vifs(self.instance_, [self.vif])

    def test_port_has_a_bridge_of_its_own_as_long_as_neutron_wants_it(self) -> None:
        self.spawn(self.instance_)
        for hybrid in (True, False):
            self.vif["details"] = {"port_filter": True, "ovs_hybrid_plug": hybrid}
            self.driver.reboot(self.context, self.instance_, [self.vif], "HARD")
            self.assertEqual([hybrid], [nic.hybrid for nic in self.guest().interfaces])

    def test_changed_port_keeps_its_place_and_a_refusal_all_that_was_there(self) -> None:
        network = {"bridge": "br-int", "meta": {"mtu": 9000}}
        other = {**self.vif, "address": "fa:16:3e:00:00:02", "devname": "tapo", "network": network}
        self.spawn(self.instance_, vifs=[self.vif, other])
        before = self.guest().interfaces
        self.vif["network"]["meta"]["mtu"] = 1400
        refusal = mock.patch.object(
            fake.FakeDriver, "replace_interfaces", side_effect=exceptions.PlugFailed("no")
        )
        with refusal, self.assertRaises(exception.VirtualInterfacePlugException):
            self.driver.reboot(self.context, self.instance_, [self.vif, other], "HARD")
        self.assertEqual(before, self.guest().interfaces)
        self.driver.reboot(self.context, self.instance_, [self.vif, other], "HARD")
        found = self.guest().interfaces
        self.assertEqual([1400, 9000], [nic.mtu for nic in found])
        self.assertEqual([nic.mac for nic in before], [nic.mac for nic in found])
