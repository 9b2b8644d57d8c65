# SPDX-License-Identifier: Apache-2.0
"""Interfaces are attached to guests and detached, completely or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import DiskBus, NicModel, PowerState, RebootKind
from compute_driver.guest import MIB, Disk, Guest, Interface, PublishedPort
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base import interfaces, power
from tests.functional import base, bridges, inside, tiny, worker
from tests.ports import free_port


class Interfaces(base.HostTestCase):
    """Compares the interfaces of a guest in libvirt and in the driver."""

    def assert_has(self, made: Guest, *interfaces: Interface) -> None:
        wanted = [nic.mac for nic in interfaces]
        stored = self.driver.show(made.uuid).guest.interfaces
        self.assertEqual(wanted, [nic.mac for nic in stored])
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(made.uuid)
            for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
                self.assertEqual(sorted(wanted), sorted(self.macs(domain.XMLDesc(flag))))

    def macs(self, xml: str) -> list[str]:
        found = inside.etree.fromstring(xml).iterfind("devices/interface/mac")
        return [str(mac.get("address")) for mac in found]

    @contextlib.contextmanager
    def says(self, made: Guest, *texts: str) -> Iterator[None]:
        """Expect a text on the guest's console."""
        before = len(self.driver.console_log(made.uuid))
        yield
        for text in texts:
            self.driver.console_wait(made.uuid, text, timeout=base.BOOT_TIMEOUT, skip_bytes=before)

    def forget(self, made: Guest) -> None:
        """Remove the last interface from the domain's description, and die then."""
        parts = self.driver._parts
        stored = parts.stored(made.uuid)
        rest = dataclasses.replace(stored.guest, interfaces=stored.guest.interfaces[:-1])
        with mock.patch.object(Ownership, "_keep"):
            interfaces.store(parts, stored, rest)


class TestRunningGuest(inside.SharedGuestTestCase, Interfaces):
    def test_a_guest_uses_an_attached_interface_and_loses_it_by_the_detachment(self) -> None:
        first = self.made.interfaces[0]
        for _twice in range(2):
            added = Interface()
            with self.says(self.made, "GUEST-ADDED: eth1", "GUEST-LEASE: eth1"):
                self.driver.attach_interface(self.made.uuid, added)
            self.assert_has(self.made, first, added)
            with self.says(self.made, "GUEST-REMOVED: eth1"):
                self.driver.detach_interface(self.made.uuid, added.mac)
            self.assert_has(self.made, first)

    def test_a_paused_guest_sees_the_interface_after_its_resume(self) -> None:
        added = Interface()
        self.driver.pause(self.made.uuid)
        self.driver.attach_interface(self.made.uuid, added)
        self.assert_has(self.made, self.made.interfaces[0], added)
        with self.assertRaises(exceptions.DeviceBusy):
            self.driver.detach_interface(self.made.uuid, added.mac, timeout=1)
        self.assert_has(self.made, self.made.interfaces[0], added)
        self.driver.resume(self.made.uuid)
        self.driver.detach_interface(self.made.uuid, added.mac)
        self.assert_has(self.made, self.made.interfaces[0])

    def test_an_interface_survives_a_hard_reboot(self) -> None:
        added = Interface()
        self.driver.attach_interface(self.made.uuid, added)
        with inside.boots(self.driver, self.made):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assert_has(self.made, self.made.interfaces[0], added)
        with self.says(self.made, "GUEST-REMOVED: eth1"):
            self.driver.detach_interface(self.made.uuid, added.mac)
        self.assert_has(self.made, self.made.interfaces[0])

    def test_a_killed_detachment_is_finished(self) -> None:
        self.driver.attach_interface(self.made.uuid, worker.ADDED)
        with worker.running("detach_interface", self.made.uuid, pause="interface let go") as other:
            self.assertEqual(worker.PAUSED, other.says())
        self.driver.pause(self.made.uuid)
        self.driver.resume(self.made.uuid)
        self.assert_has(self.made, self.made.interfaces[0])

    def test_an_interface_without_description_is_detached(self) -> None:
        self.driver.attach_interface(self.made.uuid, Interface())
        self.forget(self.made)
        interfaces.mend(self.driver._parts, self.made.uuid)
        self.assert_has(self.made, self.made.interfaces[0])

    def test_an_interface_that_cannot_be_described_is_detached(self) -> None:
        failure = mock.patch.object(
            libvirt.virDomain, "setMetadata", side_effect=tiny.libvirt_error()
        )
        with failure, self.assertRaises(exceptions.LibvirtError):
            self.driver.attach_interface(self.made.uuid, Interface())
        self.driver.pause(self.made.uuid)
        self.driver.resume(self.made.uuid)
        self.assert_has(self.made, self.made.interfaces[0])


class TestTinyGuest(tiny.TinyTestCase, Interfaces):
    def test_bridge(self) -> None:
        with bridges.bridge() as name:
            made = self.spawn_tiny()
            added = bridges.plugged(name)
            self.driver.attach_interface(made.uuid, added)
            self.assertEqual(1, len(bridges.ports(name)))
            self.assert_has(made, added)
            self.driver.destroy(made.uuid)
            self.assertEqual([], bridges.ports(name))

    def test_an_interface_has_the_options_of_all_devices(self) -> None:
        made, added = self.spawn_tiny(packed_ring=True), Interface()
        self.driver.attach_interface(made.uuid, added)
        self.assert_has(made, added)
        with inside.connection(self.driver) as opened:
            xml = opened.lookupByUUIDString(made.uuid).XMLDesc()
        (found,) = inside.etree.fromstring(xml).iterfind("devices/interface/driver")
        self.assertEqual("on", found.get("packed"))

    def test_a_port_that_is_taken_is_refused_while_the_guest_is_off(self) -> None:
        first, second = (PublishedPort(port=free_port(), guest_port=22) for _ in range(2))
        made = tiny.guest(interfaces=(Interface(published=(first,)),))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made, power_on=False)
        verbs: dict[str, Callable[[], object]] = {
            "start": lambda: self.driver.start(made.uuid),
            "hard reboot": lambda: self.driver.reboot(made.uuid, kind=RebootKind.HARD),
            "publish": lambda: self.driver.publish(made.uuid, second),
        }
        warning = self.enterContext(mock.patch.object(power.LOG, "warning"))
        with (
            socket.create_server((first.address, first.port)),
            socket.create_server((second.address, second.port)),
        ):
            for name, verb in verbs.items():
                with self.subTest(name), self.assertRaises(exceptions.NotOnThisHost):
                    verb()
        warning.assert_not_called()  # no word of a guest that was on
        self.assertIs(PowerState.STOPPED, self.driver.state(made.uuid))
        self.assertEqual((first,), self.driver.show(made.uuid).guest.published)
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))

    def test_a_missing_network_is_refused(self) -> None:
        made = self.spawn_tiny()
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.attach_interface(made.uuid, bridges.plugged("nonexistent"))
        self.assert_has(made)

    def test_a_guest_without_a_free_slot_stays_as_it_is(self) -> None:
        made, added = self.spawn_tiny(), Interface()
        self.driver.attach_interface(made.uuid, added)
        with self.assertRaisesRegex(exceptions.LibvirtError, "PCI slots"):
            self.driver.attach_interface(made.uuid, Interface())
        self.assert_has(made, added)

    def test_as_many_slots_as_configured(self) -> None:
        driver = self.other_driver(hotplug_ports=3)
        changes: tuple[dict[str, Any], ...] = (
            {},
            {"interfaces": (Interface(),)},
            {"interfaces": (Interface(model=NicModel.E1000), Interface(model=NicModel.E1000E))},
            {"root": Disk(size_bytes=MIB, bus=DiskBus.SCSI)},
            {"root": Disk(size_bytes=MIB, bus=DiskBus.USB)},
            {"machine": "pc"},
        )
        for each in changes:
            with self.subTest(each):
                made = tiny.guest(**each)
                self.addCleanup(self.driver.destroy, made.uuid)
                driver.spawn(made)
                added = [Interface() for _ in range(3)]
                for interface in added:
                    driver.attach_interface(made.uuid, interface)
                self.assert_has(made, *made.interfaces, *added)
                self.driver.destroy(made.uuid)

    def test_a_guest_that_does_not_release_an_interface_keeps_it(self) -> None:
        made, added = self.spawn_tiny(), Interface()
        self.driver.attach_interface(made.uuid, added)
        with self.assertRaises(exceptions.DeviceBusy):
            self.driver.detach_interface(made.uuid, added.mac, timeout=2)
        self.assert_has(made, added)
        self.driver.stop(made.uuid, timeout=0)
        self.driver.detach_interface(made.uuid, added.mac)
        self.assert_has(made)
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)

    def test_an_interface_that_is_not_released_delays_no_operation(self) -> None:
        made, added = self.spawn_tiny(), Interface()
        self.driver.attach_interface(made.uuid, added)
        self.forget(made)
        with (
            mock.patch.object(interfaces, "TAKE_BACK_SECONDS", 1.0),
            self.assertLogs(interfaces.LOG, "WARNING") as logged,
        ):
            interfaces.mend(self.driver._parts, made.uuid)
        self.assertIn(added.mac, logged.output[0])
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assert_has(made)

    def test_the_driver_waits_until_a_deadline_for_an_emulator_that_hangs(self) -> None:
        made = self.spawn_tiny()
        self.driver.attach_interface(made.uuid, Interface())
        self.forget(made)
        emulator = tiny.emulators()[made.uuid]
        os.kill(emulator, signal.SIGSTOP)
        self.addCleanup(os.kill, emulator, signal.SIGCONT)
        with (
            mock.patch.object(interfaces, "ASK_SECONDS", 1.0),
            self.assertRaises(exceptions.OperationTimeout),
        ):
            interfaces.mend(self.driver._parts, made.uuid)

    def test_a_killed_attachment_is_complete_or_undone(self) -> None:
        for point, done in (("interface described", False), ("interface attached", True)):
            with self.subTest(point):
                made = self.spawn_tiny()
                with worker.running("attach_interface", made.uuid, pause=point) as other:
                    self.assertEqual(worker.PAUSED, other.says())
                self.other_driver()
                self.assert_has(made, *[worker.ADDED] * done)

    def test_a_failed_attachment_leaves_no_trace(self) -> None:
        made = self.spawn_tiny()
        failure = mock.patch.object(domains, "attach", side_effect=tiny.libvirt_error())
        with failure, self.assertRaises(exceptions.LibvirtError):
            self.driver.attach_interface(made.uuid, Interface())
        self.assert_has(made)
