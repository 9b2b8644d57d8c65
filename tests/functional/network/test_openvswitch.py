# SPDX-License-Identifier: Apache-2.0
"""Guests on a bridge of Open vSwitch."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind, PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Interface
from compute_driver.limits import Bandwidth
from compute_driver.network import ovsdb
from compute_driver.operations.base import interfaces
from compute_driver.system import tools
from tests.functional import base, bridges, inside, tiny, worker
from tests.functional.switches import PORT, SwitchTestCase, kernel_only, plugged


class TestOpenVSwitch(SwitchTestCase):
    def test_the_traffic_of_a_guest_is_limited(self) -> None:
        nic = plugged(inbound=Bandwidth(average=100))
        if not bridges.can_shape():
            with self.assertRaisesRegex(exceptions.HostError, "tc"):
                self.driver.spawn(base.guest(interfaces=(nic,), **kernel_only()))
            return
        made = self.spawn(interfaces=(nic,), **kernel_only())
        command = [str(tools.locate("tc")), "class", "show", "dev", str(nic.device)]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.assertIn("rate 800Kbit", shown)
        self.answers(made)

    def test_traffic_flows_after_each_operation(self) -> None:
        interface = plugged(port=PORT, mtu=1400, queues=2)
        made = base.guest(interfaces=(interface,), vcpus=2, **kernel_only())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.has_an_address(made)
        self.answers(made)
        self.assertEqual([interface.device], self.switch.ports())
        (nic,) = self.fact(made, "NIC")
        self.assertIn(f"mac={interface.mac} driver=virtio_net mtu=1400", nic)
        queues = inside.run(self.driver, made, "ls -d /sys/class/net/eth0/queues/rx-*")
        self.assertEqual(2, len(queues.split()))
        for key, value in (("iface-id", PORT), ("vm-uuid", made.uuid)):
            noted = self.switch.vsctl("get", "Interface", interface.device, f"external_ids:{key}")
            self.assertEqual(value, noted.strip('"'))

        with self.subTest("soft reboot"), self.gets_an_address(made):
            self.assertIs(self.driver.reboot(made.uuid), RebootKind.SOFT)
        with self.subTest("pause"):
            self.driver.pause(made.uuid)
            self.driver.resume(made.uuid)
            self.answers(made)
        self.answers_after_each_power_on(made)

        self.driver.destroy(made.uuid)
        self.assertEqual([], self.switch.ports())

    def test_a_failed_spawn_leaves_no_port(self) -> None:
        interfaces = (plugged(), plugged())

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            self.assertEqual([], self.switch.ports())
            yield
            self.assertEqual({nic.device for nic in interfaces}, set(self.switch.ports()))
            raise TimeoutError

        with self.assertRaises(TimeoutError):
            self.driver.spawn(tiny.guest(interfaces=interfaces), network=network())
        self.assertEqual([], self.switch.ports())

    def test_unknown_bridge_is_refused(self) -> None:
        nic = Interface(kind=InterfaceKind.OVS, source="br-none")
        with self.assertRaisesRegex(exceptions.InvalidParameter, "ovs=br-none.*ovs=br0"):
            self.driver.spawn(tiny.guest(interfaces=(nic,)))

    def test_the_port_of_another_guest_is_left_alone(self) -> None:
        mine = plugged()
        made = tiny.guest(interfaces=(mine,))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        with self.assertRaisesRegex(exceptions.InvalidParameter, str(mine.device)):
            self.driver.spawn(tiny.guest(interfaces=(mine,)))
        self.assertEqual([mine.device], self.switch.ports())

    def test_the_error_names_an_unreachable_database(self) -> None:
        # A driver in a process of its own would have it; os-vif is not reached here.
        options = self.options | {"ovsdb_connection": "unix:/nonexistent/db.sock"}
        driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(driver.close)
        with self.assertRaisesRegex(exceptions.OpenVSwitchUnavailable, "/nonexistent/db.sock"):
            driver.spawn(tiny.guest(interfaces=(plugged(),)))

    def test_switch_that_is_down_prevents_no_end_of_a_run(self) -> None:
        on_switch = tiny.guest(interfaces=(plugged(),))
        plain = tiny.guest()
        with contextlib.ExitStack() as killed:
            for made in (on_switch, plain):
                self.addCleanup(self.driver.destroy, made.uuid)
                self.driver.spawn(made)
                reboot = worker.running(
                    *("reboot", made.uuid), pause="domain redefined", configured=self.options
                )
                self.assertEqual(worker.PAUSED, killed.enter_context(reboot).says())
        options = self.options | {"ovsdb_connection": "unix:/nonexistent/db.sock"}
        driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(driver.close)
        with self.assertRaises(exceptions.OpenVSwitchUnavailable):
            driver.pause(on_switch.uuid)
        driver.reboot(plain.uuid, kind=RebootKind.HARD)
        with self.assertRaises(exceptions.OpenVSwitchUnavailable):
            driver.reboot(on_switch.uuid, kind=RebootKind.HARD)
        for made in (on_switch, plain):
            self.assertIs(PowerState.RUNNING, driver.state(made.uuid))
            driver.stop(made.uuid, timeout=0)
            self.assertIs(PowerState.STOPPED, driver.state(made.uuid))

    def test_attach_and_detach_with_a_running_guest(self) -> None:
        made = base.guest(interfaces=(), **kernel_only())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.console_wait(made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)
        added = plugged(port=PORT)
        self.driver.attach_interface(made.uuid, added)
        self.assertEqual([added.device], self.switch.ports())
        self.has_an_address(made)
        self.answers(made)
        self.assertEqual((), self.driver.audit())
        self.driver.detach_interface(made.uuid, added.mac)
        self.assertEqual([], self.switch.ports())
        with (
            mock.patch.object(ovsdb, "note", side_effect=exceptions.PlugFailed("no")),
            self.assertRaises(exceptions.PlugFailed),
        ):
            self.driver.attach_interface(made.uuid, plugged())
        self.assertEqual([], self.switch.ports())
        self.assertEqual((), self.driver.show(made.uuid).guest.interfaces)
        self.assertEqual((), self.driver.stats(made.uuid)[0].interfaces)

    def test_the_port_of_an_interface_without_description_is_removed(self) -> None:
        made = tiny.guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        parts = self.driver._parts
        before = parts.stored(made.uuid)
        self.driver.attach_interface(made.uuid, plugged())
        interfaces.store(parts, before, before.guest)
        with mock.patch.object(interfaces, "TAKE_BACK_SECONDS", 1.0):
            interfaces.mend(parts, made.uuid)
        self.assertEqual([], self.switch.ports())

    def test_the_audit_removes_ports_without_a_guest(self) -> None:
        nic = plugged()
        made = tiny.guest(interfaces=(nic,))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.assertEqual((), self.driver.audit())
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(made.uuid)
            domain.destroy()
            domain.undefineFlags(0)
        shutil.rmtree(Path(self.options["state_path"], "instances", made.uuid))
        found = {finding.kind: finding for finding in self.driver.audit()}
        self.assertEqual(nic.device, found["orphan port"].subject)
        self.assertTrue(all(finding.repaired for finding in self.driver.audit(repair=True)))
        self.assertEqual([], self.switch.ports())
        self.assertEqual((), self.driver.audit())

    def test_lost_ports_are_plugged_in_again(self) -> None:
        kept, lost = plugged(), plugged(port=PORT)
        made = tiny.guest(interfaces=(kept, lost))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        identity = self.switch.vsctl("get", "Port", str(kept.device), "_uuid")
        self.switch.vsctl("del-port", str(lost.device))
        self.driver.plug_interfaces(made.uuid)
        self.assertEqual({kept.device, lost.device}, set(self.switch.ports()))
        self.assertEqual(identity, self.switch.vsctl("get", "Port", str(kept.device), "_uuid"))
        noted = self.switch.vsctl("get", "Interface", str(lost.device), "external_ids:iface-id")
        self.assertEqual(PORT, noted.strip('"'))
        self.assertEqual((), self.driver.audit())
        self.driver.stop(made.uuid, timeout=0)
        before = self.switch.ports()
        self.driver.plug_interfaces(made.uuid)
        self.assertEqual(before, self.switch.ports())

    def test_hard_reboot_whose_network_fails_leaves_the_guest_off(self) -> None:
        made = tiny.guest(interfaces=(plugged(),))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        states = []

        @contextlib.contextmanager
        def network(error: Exception | None) -> Iterator[None]:
            yield
            states.append(self.driver.state(made.uuid))
            if error is not None:
                raise error

        with self.assertRaises(TimeoutError):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD, network=network(TimeoutError()))
        self.assertIs(PowerState.STOPPED, self.driver.state(made.uuid))
        self.driver.reboot(made.uuid, kind=RebootKind.HARD, network=network(None))
        self.assertEqual([PowerState.PAUSED] * 2, states)
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))

    def test_a_missing_port_does_no_harm(self) -> None:
        nic = plugged()
        made = tiny.guest(interfaces=(nic,))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.switch.vsctl("del-port", str(nic.device))
        self.driver.destroy(made.uuid)
        self.assertEqual((), self.driver.list())
