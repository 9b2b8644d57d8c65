# SPDX-License-Identifier: Apache-2.0
"""What nova-compute does with the driver, without a cloud and with simulated guests."""

from __future__ import annotations

import json
import queue
import time
import unittest
from typing import Any

from nova import exception, objects
from nova.compute import power_state, provider_tree
from nova.conf import CONF
from nova.virt import event

from compute_driver import exceptions
from compute_driver.nova import errors
from compute_driver.nova.driver import NovaDriver
from tests.nova.base import NODE, NovaCase

PORT = "b4f4d4a7-3a8f-4f0e-8df0-3f1d9b7f2a55"


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

    def test_diagnostics_in_both_forms(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.assertEqual(512, self.driver.get_diagnostics(instance)["vda_read"])
        found = self.driver.get_instance_diagnostics(instance)
        self.assertEqual(("running", 1, 1), (found.state, found.num_cpus, found.num_disks))
        self.assertEqual(192, found.memory_details.maximum)


class ErrorsTest(unittest.TestCase):
    def test_nova_gets_errors_that_it_handles(self) -> None:
        for ours, theirs in (
            (exceptions.GuestNotFound("x"), exception.InstanceNotFound),
            (exceptions.LibvirtUnavailable("x"), exception.HypervisorUnavailable),
            (exceptions.NotEnoughSpace("x"), exception.ComputeResourcesUnavailable),
            (exceptions.ImageTooLarge("x"), exception.FlavorDiskTooSmall),
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
