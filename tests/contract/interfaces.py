# SPDX-License-Identifier: Apache-2.0
"""Changing the network interfaces of guests."""

from __future__ import annotations

import contextlib
import dataclasses

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind, NicModel
from compute_driver.guest import Guest, Interface, PublishedPort
from tests.contract.base import Case
from tests.ports import free_port


class Interfaces(Case):
    """See :class:`compute_driver.contract.interfaces.Interfaces`."""

    def test_interface_is_attached_and_detached(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        added = Interface()
        self.driver.attach_interface(guest.uuid, added)
        self.assertEqual((*guest.interfaces, added), self.interfaces(guest))
        self.assertEqual(2, len(self.driver.stats(guest.uuid)[0].interfaces))
        self.assertIn(added.mac, [each.mac for each in self.driver.show(guest.uuid).devices])
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.attach_interface(guest.uuid, added)
        self.driver.detach_interface(guest.uuid, added.mac.upper())
        self.assertEqual(guest.interfaces, self.interfaces(guest))
        self.assertEqual(1, len(self.driver.stats(guest.uuid)[0].interfaces))
        with self.assertRaises(exceptions.InterfaceNotFound):
            self.driver.detach_interface(guest.uuid, added.mac)

    def test_interfaces_of_a_guest_that_is_off_are_changed(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        added = Interface()
        self.driver.attach_interface(guest.uuid, added)
        self.driver.detach_interface(guest.uuid, guest.interfaces[0].mac)
        self.assertEqual((added,), self.interfaces(guest))
        self.driver.start(guest.uuid)
        self.assertEqual((added,), self.interfaces(guest))
        self.assertEqual(1, len(self.driver.stats(guest.uuid)[0].interfaces))
        self.driver.suspend(guest.uuid)
        accepted = "crashed, paused, running, stopped"
        with self.refuses_state(guest, "attach an interface to", "suspended", accepted):
            self.driver.attach_interface(guest.uuid, Interface())
        with self.refuses_state(guest, "detach an interface from", "suspended", accepted):
            self.driver.detach_interface(guest.uuid, added.mac)

    def test_interfaces_of_a_guest_that_is_off_are_replaced_in_order_or_not_at_all(self) -> None:
        first, second = Interface(), Interface()
        guest = self.make_guest(interfaces=(first, second))
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        changed = dataclasses.replace(first, model=NicModel.E1000)
        for wanted in ((changed, second), (second, Interface(), changed), ()):
            self.driver.replace_interfaces(guest.uuid, wanted)
            self.assertEqual(wanted, self.interfaces(guest))
        self.driver.replace_interfaces(guest.uuid, [first, second])
        many = Interface(kind=InterfaceKind.BRIDGE, source="br0", queues=guest.vcpus + 1)
        for refused in ((first, first), (Interface(), many)):
            with self.assertRaises(exceptions.InvalidParameter):
                self.driver.replace_interfaces(guest.uuid, refused)
        self.assertEqual((first, second), self.interfaces(guest))
        self.driver.start(guest.uuid)
        with self.refuses_state(guest, "replace the interfaces of", "running", "crashed, stopped"):
            self.driver.replace_interfaces(guest.uuid, ())
        self.assertEqual((first, second), self.interfaces(guest))
        self.assertEqual(2, len(self.driver.stats(guest.uuid)[0].interfaces))

    def test_ports_are_published_and_closed(self) -> None:
        guest = self.shared()
        port = PublishedPort(port=free_port(), guest_port=22)
        self.driver.publish(guest.uuid, port)
        self.addCleanup(self.close, guest, port)
        self.assertEqual((port,), self.driver.show(guest.uuid).guest.published)
        everywhere = dataclasses.replace(port, address="0.0.0.0", guest_port=23)
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.publish(guest.uuid, everywhere)
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.unpublish(guest.uuid, everywhere)
        self.assertEqual((port,), self.driver.show(guest.uuid).guest.published)
        self.driver.unpublish(guest.uuid, port)
        self.assertEqual(guest.interfaces, self.interfaces(guest))

    def test_a_port_leads_to_one_guest(self) -> None:
        port = PublishedPort(port=free_port(), guest_port=22)
        publisher = self.make_guest(interfaces=(Interface(published=(port,)),))
        self.addCleanup(self.driver.destroy, publisher.uuid)
        self.driver.spawn(publisher, power_on=False)
        guest = self.shared()
        other = dataclasses.replace(port, address="0.0.0.0", guest_port=80)
        interface = Interface(published=(other,))
        for name, publish in (
            ("publish", lambda: self.driver.publish(guest.uuid, other)),
            ("attach", lambda: self.driver.attach_interface(guest.uuid, interface)),
            ("spawn", lambda: self.driver.spawn(self.make_guest(interfaces=(interface,)))),
        ):
            with (
                self.subTest(name),
                self.assertRaisesRegex(exceptions.NotOnThisHost, f"guest '{publisher.name}' does"),
            ):
                publish()
        self.assertEqual(guest.interfaces, self.interfaces(guest))

    def test_only_user_mode_networking_publishes_ports(self) -> None:
        guest = self.make_guest(interfaces=())
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        port = PublishedPort(port=free_port(), guest_port=22)
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.publish(guest.uuid, port)
        self.driver.attach_interface(guest.uuid, Interface(published=(port,)))
        self.assertEqual((port,), self.driver.show(guest.uuid).guest.published)

    def close(self, guest: Guest, port: PublishedPort) -> None:
        with contextlib.suppress(exceptions.InvalidParameter):
            self.driver.unpublish(guest.uuid, port)

    def interfaces(self, guest: Guest) -> tuple[Interface, ...]:
        return self.driver.show(guest.uuid).guest.interfaces
