# SPDX-License-Identifier: Apache-2.0
"""What nova-compute does with the driver, without a cloud and with simulated guests."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import queue
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from nova import exception, objects, privsep
from nova.api.metadata import password
from nova.compute import power_state, provider_tree
from nova.conf import CONF
from nova.network import model
from nova.virt import event

from compute_driver import exceptions
from compute_driver.drivers import fake
from compute_driver.guest import GIB, MIB, Disk, Guest
from compute_driver.nova import agent, configuration, diagnostics, errors, resize
from compute_driver.nova.driver import NovaDriver
from tests.nova.base import NODE, NovaCase
from tests.unit import base

PORT = "b4f4d4a7-3a8f-4f0e-8df0-3f1d9b7f2a55"


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Have nova's helper work in this process meanwhile: there is no sudo here to start it by."""
    privsep.sys_admin_pctxt.set_client_mode(False)
    try:
        yield
    finally:
        privsep.sys_admin_pctxt.set_client_mode(True)


class ServiceTest(NovaCase):
    def test_nova_loads_it(self) -> None:
        self.assertIsInstance(self.driver, NovaDriver)
        self.assertEqual("192.0.2.7", self.driver.get_host_ip_addr())

    def test_options_default_to_nova_s(self) -> None:
        options = CONF.hypervisor
        self.assertEqual("qemu:///system", options.connection_uri)
        self.assertEqual(CONF.instances_path, options.instances_path)
        self.assertEqual(f"{CONF.instances_path}/_base", options.image_cache_path)
        self.assertEqual(f"{CONF.state_path}/compute-driver", options.state_path)
        self.assertEqual(("192.0.2.8", None), (options.vnc_listen, options.spice_listen))
        self.assertTrue(options.spice_agent_enabled)
        self.assertEqual("auto_lz", options.spice_image_compression)
        self.assertEqual("192.0.2.10", options.serial_listen)
        self.assertEqual((11000, 12000), options.serial_port_range)
        self.assertEqual(86400, options.image_unused_seconds)
        self.assertEqual(4, options.hotplug_ports)

    def test_ports_are_as_many_as_nova_has_them(self) -> None:
        self.addCleanup(configuration.register)
        self.addCleanup(CONF.clear_override, "num_pcie_ports", "libvirt")
        for wanted, ports in ((2, 2), (28, 16)):
            CONF.set_override("num_pcie_ports", wanted, "libvirt")
            configuration.register()
            self.assertEqual(ports, CONF.hypervisor.hotplug_ports)

    def test_changes_of_state_are_told(self) -> None:
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.driver.init_host("host")
        self.driver.register_event_listener(told.put)
        instance = self.instance()
        self.spawn(instance)
        self.driver.pause(instance)
        for transition in (event.EVENT_LIFECYCLE_STARTED, event.EVENT_LIFECYCLE_PAUSED):
            heard = told.get(timeout=10)
            self.assertEqual(instance.uuid, heard.get_instance_uuid())
            self.assertEqual(transition, heard.get_transition())


class LifeTest(NovaCase):
    def state(self, instance: Any) -> int:
        return int(self.driver.get_info(instance).state)

    def test_from_spawn_to_destroy(self) -> None:
        instance = self.instance()
        self.assertFalse(self.driver.instance_exists(instance))
        self.spawn(instance)
        self.assertEqual([instance.name], self.driver.list_instances())
        self.assertEqual([instance.uuid], self.driver.list_instance_uuids())
        self.assertTrue(self.driver.instance_exists(instance))
        self.driver.pause(instance)
        self.assertEqual(power_state.PAUSED, self.state(instance))
        self.driver.unpause(instance)
        self.driver.suspend(self.context, instance)
        self.assertEqual(power_state.SUSPENDED, self.state(instance))
        self.driver.resume(self.context, instance, [])
        self.driver.power_off(instance, 10, 1)
        self.assertEqual(power_state.SHUTDOWN, self.state(instance))
        self.driver.reboot(self.context, instance, [], "SOFT")
        self.assertEqual(power_state.RUNNING, self.state(instance))
        self.assertIn(b"boot 2", self.driver.get_console_output(self.context, instance))
        self.driver.destroy(self.context, instance, [])
        self.assertEqual(0, self.driver.get_num_instances())
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.get_info(instance)
        self.driver.destroy(self.context, instance, [])

    def test_console_that_is_root_s_is_read_by_nova_s_helper(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        with tempfile.TemporaryDirectory() as home:
            log = Path(home, "console.log")
            for name, content in (("console.log.0", b"boot 1\n"), ("console.log", b"boot 2\n")):
                Path(home, name).write_bytes(content)
            denied = exceptions.HostError("no")
            denied.__cause__ = PermissionError()
            found = dataclasses.replace(self.driver._driver.show(instance.uuid), console=str(log))
            with (
                mock.patch.object(self.driver._driver, "console_log", side_effect=denied),
                mock.patch.object(self.driver._driver, "show", return_value=found),
                unprivileged(),
            ):
                said = self.driver.get_console_output(self.context, instance)
        self.assertEqual(b"boot 1\nboot 2\n", said)

    def test_spawn_waits_for_neutron(self) -> None:
        instance = self.instance()
        vif = {
            "id": PORT,
            "address": "fa:16:3e:00:00:01",
            "type": "ovs",
            "active": False,
            "details": {},
            "network": {"bridge": "br-int", "meta": {}},
        }
        self.addCleanup(self.driver.destroy, self.context, instance, [])
        self.driver.spawn(self.context, instance, self.image(), [], None, {}, [vif])
        self.assertEqual([("network-vif-plugged", PORT)], self.virtapi.waited)

    def test_what_cannot_be_ends_the_build(self) -> None:
        instance = self.instance(**{"hw:numa_nodes": "2"})
        with self.assertRaisesRegex(exception.InvalidInput, "hw:numa_nodes"):
            self.spawn(instance)
        with self.assertRaisesRegex(exception.InvalidInput, "hw_tpm_model"):
            self.spawn(self.instance(), self.image(hw_tpm_model="tpm-tis", hw_tpm_version="2.0"))
        with self.assertRaisesRegex(exception.InvalidInput, "block_device_mapping"):
            self.spawn(self.instance(), block_device_info={"block_device_mapping": [{}]})
        self.assertEqual([], self.driver.list_instances())

    def test_guest_agent(self) -> None:
        instance = self.instance()
        instance.system_metadata = {"image_os_admin_user": "admin"}
        self.spawn(instance)
        self.driver.quiesce(self.context, instance, self.image())
        self.driver.unquiesce(self.context, instance, self.image())
        self.driver.set_admin_password(instance, "secret")
        said = self.driver.get_console_output(self.context, instance)
        self.assertIn(b"password of admin set", said)
        instance.os_type, instance.system_metadata = "windows", {}
        self.assertEqual("Administrator", agent.administrator(instance))

    def test_guest_without_an_agent(self) -> None:
        instance = self.instance()
        self.spawn(instance, self.image(hw_qemu_guest_agent="no"))
        for call in (
            lambda: self.driver.quiesce(self.context, instance, self.image()),
            lambda: self.driver.unquiesce(self.context, instance, self.image()),
            lambda: self.driver.set_admin_password(instance, "secret"),
        ):
            with self.assertRaises(exception.QemuGuestAgentNotEnabled):
                call()

    def test_password_is_kept_for_the_owner_of_the_key(self) -> None:
        instance = self.instance()
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        instance.key_data = (
            private.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )
        with mock.patch.object(type(instance), "save") as save:
            agent.publish_password(instance, "secret")
        save.assert_called_once_with()
        kept = base64.b64decode(password.extract_password(instance))
        self.assertEqual(b"secret", private.decrypt(kept, padding.PKCS1v15()))

    def test_diagnostics_in_both_forms(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.assertEqual(512, self.driver.get_diagnostics(instance)["vda_read"])
        found = self.driver.get_instance_diagnostics(instance)
        self.assertEqual(("running", 1, 1), (found.state, found.num_cpus, found.num_disks))
        self.assertEqual(192, found.memory_details.maximum)

    def test_interfaces_that_nobody_counts_have_no_counters(self) -> None:
        guests = fake.FakeDriver(base.configuration())
        guest = guests.spawn(base.describe()).guest
        (stats,) = guests.stats(guest.uuid)
        self.assertFalse([name for name in diagnostics.as_dict(stats) if "x" in name])
        (nic,) = diagnostics.as_object(stats, guest).nic_details
        self.assertEqual((guest.interfaces[0].mac, None), (nic.mac_address, nic.rx_octets))


class ConsoleTest(NovaCase):
    def test_screens_are_found_by_the_address_for_proxies(self) -> None:
        CONF.set_override("spice_listen", "192.0.2.8", "hypervisor")
        self.addCleanup(CONF.clear_override, "spice_listen", "hypervisor")
        instance = self.instance()
        self.spawn(instance)
        found = self.driver.get_vnc_console(self.context, instance)
        self.assertEqual("192.0.2.9", found.host)
        other = self.driver.get_spice_console(self.context, instance)
        self.assertEqual(("127.0.0.1", None), (other.host, other.tlsPort))
        self.assertNotEqual(found.port, other.port)

    def test_serial_console_is_found_by_the_address_for_proxies(self) -> None:
        instance = self.instance()
        CONF.set_override("serial_listen", "0.0.0.0", "hypervisor")
        self.addCleanup(CONF.clear_override, "serial_listen", "hypervisor")
        self.spawn(instance)
        found = self.driver.get_serial_console(self.context, instance)
        self.assertEqual("192.0.2.10", found.host)
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotReady):
            self.driver.get_serial_console(self.context, instance)

    def test_refusals_are_those_of_nova_s_api(self) -> None:
        instance = self.instance()
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.get_vnc_console(self.context, instance)
        self.spawn(instance)
        with self.assertRaises(exception.ConsoleTypeUnavailable):
            self.driver.get_spice_console(self.context, instance)
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotReady):
            self.driver.get_vnc_console(self.context, instance)


class CrashTest(NovaCase):
    def test_crash_dump_is_triggered(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.driver.trigger_crash_dump(instance)
        self.assertIn(b"NMI", self.driver.get_console_output(self.context, instance))
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotRunning):
            self.driver.trigger_crash_dump(instance)
        self.driver.destroy(self.context, instance, [])
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.trigger_crash_dump(instance)

    def test_machine_without_interrupts_says_so(self) -> None:
        instance = self.instance()
        self.spawn(instance, self.image(hw_architecture="aarch64"))
        with self.assertRaises(exception.TriggerCrashDumpNotSupported):
            self.driver.trigger_crash_dump(instance)


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


class ResizeTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        self.instance_ = self.instance()
        self.spawn(self.instance_)
        self.larger = self.instance_.flavor.obj_clone()
        self.larger.memory_mb, self.larger.vcpus, self.larger.root_gb = 256, 2, 3
        self.larger.ephemeral_gb, self.larger.swap = 1, 16

    def guest(self) -> Guest:
        return self.driver._driver.show(self.instance_.uuid).guest

    def migrate(self, dest: str = "192.0.2.7") -> Any:
        return self.driver.migrate_disk_and_power_off(
            self.context, self.instance_, dest, self.larger, [], {}, 10, 1
        )

    def finish(self, *, power_on: bool = True) -> None:
        """Do what nova does between the two halves of a resize, and the second."""
        self.instance_.flavor = self.larger
        self.driver.finish_migration(
            *(self.context, None, self.instance_, "", [], self.instance_.image_meta, True, {}, {}),
            power_on,
        )

    def state(self) -> int:
        return int(self.driver.get_info(self.instance_).state)

    def test_confirmed(self) -> None:
        self.migrate()
        self.assertEqual(power_state.SHUTDOWN, self.state())
        self.finish()
        self.assertEqual(power_state.RUNNING, self.state())
        found = self.guest()
        self.assertEqual((2, 256), (found.vcpus, found.memory_mib))
        self.assertEqual(Disk(size_bytes=3 * GIB), found.root)
        self.assertEqual((Disk(size_bytes=GIB),), found.ephemerals)
        self.assertEqual(Disk(size_bytes=16 * MIB), found.swap)
        self.driver.confirm_migration(self.context, None, self.instance_, [])
        self.assertEqual(found, self.guest())

    def test_reverted(self) -> None:
        before = self.guest()
        self.migrate()
        self.finish(power_on=False)
        self.assertEqual(power_state.SHUTDOWN, self.state())
        self.driver.destroy(self.context, self.instance_, [], {}, destroy_disks=False)
        self.assertFalse(self.driver.instance_exists(self.instance_))
        self.driver.finish_revert_migration(self.context, self.instance_, [], None, {}, True)
        self.assertEqual(before, self.guest())
        self.assertEqual(power_state.RUNNING, self.state())

    def test_crash_in_between_is_reverted_by_nova_s_start(self) -> None:
        before = self.guest()
        self.migrate()
        self.driver.finish_revert_migration(self.context, self.instance_, [], None, {}, True)
        self.assertEqual((before, power_state.RUNNING), (self.guest(), self.state()))

    def test_refusals_put_the_instance_back(self) -> None:
        def refused(kind: type[Exception], text: str, dest: str = "192.0.2.7") -> None:
            with self.assertRaises(exception.InstanceFaultRollback) as caught:
                self.migrate(dest)
            self.assertIsInstance(caught.exception.inner_exception, kind)
            self.assertIn(text, str(caught.exception.inner_exception))
            self.assertEqual(power_state.RUNNING, self.state())

        refused(exception.MigrationPreCheckError, "192.0.2.8", dest="192.0.2.8")
        self.larger.extra_specs = {"hw:numa_nodes": "2"}
        refused(exception.ResizeError, "hw:numa_nodes")
        self.larger.root_gb = 0
        refused(exception.ResizeError, "root_gb")

    def test_second_ephemeral_disk_keeps_its_size(self) -> None:
        two = (Disk(size_bytes=GIB), Disk(size_bytes=2 * GIB))
        now = dataclasses.replace(self.guest(), ephemerals=two)
        found = resize.resized_guest(
            *(self.instance_, self.larger, self.instance_.image_meta, [], {}, None, now)
        )
        self.assertEqual(two, found.ephemerals)

    def test_hosts_find_out_whether_they_share_a_directory(self) -> None:
        directory = self.driver._directory(self.instance_)
        self.assertIsNone(self.driver.check_instance_shared_storage_local(None, self.instance_))
        directory.mkdir(parents=True)
        self.addCleanup(directory.rmdir)
        data = self.driver.check_instance_shared_storage_local(None, self.instance_)
        self.assertTrue(self.driver.check_instance_shared_storage_remote(None, data))
        self.driver.check_instance_shared_storage_cleanup(None, data)
        self.assertFalse(self.driver.check_instance_shared_storage_remote(None, data))


class ErrorsTest(unittest.TestCase):
    def test_nova_gets_errors_that_it_handles(self) -> None:
        for ours, theirs in (
            (exceptions.GuestNotFound("x"), exception.InstanceNotFound),
            (exceptions.LibvirtUnavailable("x"), exception.HypervisorUnavailable),
            (exceptions.NotEnoughSpace("x"), exception.ComputeResourcesUnavailable),
            (exceptions.NoFreePort("x"), exception.SocketPortRangeExhaustedException),
            (exceptions.ImageTooLarge("x"), exception.FlavorDiskTooSmall),
            (exceptions.InvalidParameter("x", 1, "2"), exception.InvalidInput),
            (exceptions.NotOnThisHost("x", 1, "2"), exception.ComputeResourcesUnavailable),
            (exceptions.OperationTimeout("50% of x"), exception.NovaException),
        ):
            found = errors.translate(ours)
            self.assertIs(theirs, type(found))
            self.assertEqual(str(ours), found.format_message())


class HostTest(NovaCase):
    def test_resources(self) -> None:
        (name,) = self.driver.get_available_nodes()
        self.assertEqual({NODE: name}, self.driver.get_nodenames_by_uuid())
        found = self.driver.get_available_resource(name)
        self.assertEqual((name, NODE), (found["hypervisor_hostname"], found["uuid"]))
        self.assertIn(("aarch64", "qemu", "hvm"), found["supported_instances"])
        for each in found["supported_instances"]:
            objects.HVSpec.from_list(each)  # refuses words that are none of nova's
        json.loads(found["cpu_info"])

    def test_providers(self) -> None:
        (name,) = self.driver.get_available_nodes()
        tree = provider_tree.ProviderTree()
        tree.new_root(name, NODE)
        tree.update_traits(name, ["CUSTOM_GOLD", "CUSTOM_ACCELERATOR_KVM"])
        self.driver.update_provider_tree(tree, name)
        data = tree.data(name)
        self.assertEqual(100, data.inventory["MEMORY_MB"]["reserved"])
        self.assertEqual(3.0, data.inventory["VCPU"]["allocation_ratio"])
        self.assertLessEqual(
            {"CUSTOM_GOLD", "CUSTOM_ACCELERATOR_TCG", "HW_ARCH_X86_64", "COMPUTE_ARCH_AARCH64"},
            data.traits,
        )
        self.assertNotIn("CUSTOM_ACCELERATOR_KVM", data.traits)
        data.inventory["DISK_GB"]["allocation_ratio"] = 2.5
        tree.update_inventory(name, data.inventory)
        self.driver.update_provider_tree(tree, name)
        self.assertEqual(2.5, tree.data(name).inventory["DISK_GB"]["allocation_ratio"])

    def test_uptime_and_processors(self) -> None:
        self.assertRegex(self.driver.get_host_uptime(), "up .* load average")
        before = self.driver.get_host_cpu_stats()
        self.assertEqual({"user", "kernel", "idle", "iowait", "frequency"}, before.keys())
        time.sleep(0.05)
        self.assertGreater(sum(self.driver.get_host_cpu_stats().values()), sum(before.values()) - 1)
