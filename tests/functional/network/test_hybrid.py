# SPDX-License-Identifier: Apache-2.0
"""Guests on Open vSwitch with a bridge of the kernel in between, for neutron's iptables_hybrid."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.guest import Guest, Interface
from compute_driver.limits import Bandwidth
from compute_driver.network import ovsdb
from compute_driver.operations.base import interfaces
from tests.functional import base, bridges, inside, tiny
from tests.functional.switches import PORT, SwitchTestCase, kernel_only, plugged

NAMES = PORT[:11]
TAP, BRIDGE, INNER, OUTER = (f"{kind}{NAMES}" for kind in ("tap", "qbr", "qvb", "qvo"))
OTHER_PORT = "1f9f2a36-6d4c-44d4-9d4b-ae2b1c1a94d6"


def hybrid(**fields: Any) -> Interface:
    return plugged(**{"port": PORT, "hybrid": True, **fields})


class TestHybrid(SwitchTestCase):
    def spawned(self, *interfaces: Interface) -> Guest:
        """Return a guest that boots nothing, and destroy the guest at the end of the test."""
        made = tiny.guest(interfaces=interfaces)
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        return made

    def assert_plugged(self, *devices: str) -> None:
        """Expect the port, and the devices in the bridge."""
        self.assertEqual([OUTER], self.switch.ports())
        self.assertEqual({INNER, *devices}, self.switch.devices(BRIDGE))

    def assert_nothing(self) -> None:
        """Expect that no port, no bridge and no device is left."""
        self.assertEqual([], self.switch.ports())
        self.assertEqual(self.devices, self.switch.devices())

    def test_traffic_flows_after_each_operation(self) -> None:
        limits = {"inbound": Bandwidth(average=100_000)} if bridges.can_shape() else {}
        interface = hybrid(mtu=1400, queues=2, **limits)
        made = base.guest(interfaces=(interface,), vcpus=2, **kernel_only())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.has_an_address(made)
        self.answers(made)
        self.assert_plugged(TAP)
        (nic,) = self.fact(made, "NIC")
        self.assertIn(f"mac={interface.mac} driver=virtio_net mtu=1400", nic)
        queues = inside.run(self.driver, made, "ls -d /sys/class/net/eth0/queues/rx-*")
        self.assertEqual(2, len(queues.split()))
        noted = self.switch.vsctl("get", "Interface", OUTER, "external_ids", "mtu")
        for text in (f'iface-id="{PORT}"', f'vm-uuid="{made.uuid}"', "\n1400"):
            self.assertIn(text, noted)

        self.answers_after_each_power_on(made)
        self.assert_plugged(TAP)
        self.driver.destroy(made.uuid)
        self.assert_nothing()

    def test_lost_port_is_plugged_in_again_beside_the_guest_s_device(self) -> None:
        made = self.spawned(hybrid())
        self.switch.vsctl("del-port", OUTER)
        self.driver.plug_interfaces(made.uuid)
        self.assert_plugged(TAP)
        self.driver.destroy(made.uuid)
        self.assert_nothing()

    def test_attach_and_detach_with_a_running_guest(self) -> None:
        made = base.guest(interfaces=(), **kernel_only())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.console_wait(made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)
        self.driver.attach_interface(made.uuid, hybrid())
        self.assert_plugged(TAP)
        self.has_an_address(made)
        self.answers(made)
        self.assertEqual((), self.driver.audit())
        (added,) = self.driver.show(made.uuid).guest.interfaces
        self.driver.detach_interface(made.uuid, added.mac)
        self.assert_nothing()

    def test_a_failed_spawn_leaves_nothing(self) -> None:
        others = (plugged(), hybrid(port=OTHER_PORT))

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            yield
            self.assertEqual(3, len(self.switch.ports()))
            raise TimeoutError

        with self.subTest("later"), self.assertRaises(TimeoutError):
            self.driver.spawn(tiny.guest(interfaces=(hybrid(), *others)), network=network())
        self.assert_nothing()
        failure = mock.patch.object(ovsdb, "note", side_effect=exceptions.PlugFailed("no"))
        with self.subTest("as it is plugged"), failure, self.assertRaises(exceptions.PlugFailed):
            self.driver.spawn(tiny.guest(interfaces=(hybrid(), *others)))
        self.assert_nothing()
        made = self.spawned()
        with self.subTest("attached"), failure, self.assertRaises(exceptions.PlugFailed):
            self.driver.attach_interface(made.uuid, hybrid())
        self.assert_nothing()
        self.assertEqual((), self.driver.show(made.uuid).guest.interfaces)

    def test_the_parts_of_a_killed_attachment_are_removed(self) -> None:
        made, added = self.spawned(), hybrid()
        parts = self.driver._parts
        for port_is_there in (True, False):
            with self.subTest(port_is_there):
                stored = parts.stored(made.uuid)
                guest = dataclasses.replace(stored.guest, interfaces=(added,))
                interfaces.store(parts, stored, guest)
                parts.ports.prepare(guest)
                if not port_is_there:
                    self.switch.vsctl("del-port", OUTER)
                interfaces.mend(parts, made.uuid)
                self.assert_nothing()
                self.assertEqual((), self.driver.show(made.uuid).guest.interfaces)

    def test_recovery_leaves_an_attached_interface_alone(self) -> None:
        made = self.spawned()
        self.driver.attach_interface(made.uuid, hybrid())
        interfaces.mend(self.driver._parts, made.uuid)
        self.assert_plugged(TAP)

    def test_the_port_of_another_guest_is_left_alone(self) -> None:
        self.spawned(hybrid())
        with self.assertRaisesRegex(exceptions.InvalidParameter, OUTER):
            self.driver.spawn(tiny.guest(interfaces=(hybrid(),)))
        self.assert_plugged(TAP)

    def test_a_hybrid_interface_is_replaced_by_another_kind(self) -> None:
        made = self.spawned(hybrid())
        self.driver.stop(made.uuid, timeout=0)
        self.assert_plugged()
        self.driver.replace_interfaces(made.uuid, [hybrid(hybrid=False)])
        self.assert_nothing()
        self.driver.start(made.uuid)
        self.assertEqual([TAP], self.switch.ports())
        self.driver.stop(made.uuid, timeout=0)
        self.driver.replace_interfaces(made.uuid, [hybrid()])
        self.driver.start(made.uuid)
        self.assert_plugged(TAP)
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))

    def test_the_audit_removes_ports_and_devices_without_a_guest(self) -> None:
        made = self.spawned(hybrid())
        self.assertEqual((), self.driver.audit())
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(made.uuid)
            domain.destroy()
            domain.undefineFlags(0)
        shutil.rmtree(Path(self.options["state_path"], "instances", made.uuid))
        found = {finding.kind: finding for finding in self.driver.audit()}
        self.assertEqual(OUTER, found["orphan port"].subject)
        self.assertTrue(all(finding.repaired for finding in self.driver.audit(repair=True)))
        self.assert_nothing()

    def test_a_missing_port_does_no_harm(self) -> None:
        made = self.spawned(hybrid())
        self.switch.vsctl("del-port", OUTER)
        self.driver.destroy(made.uuid)
        self.assert_nothing()
