# SPDX-License-Identifier: Apache-2.0
"""Nova learns what the host has."""

from __future__ import annotations

import json
import time

from nova import objects
from nova.compute import provider_tree

from tests.nova.base import NODE, NovaCase


class HostTest(NovaCase):
    def test_resources(self) -> None:
        (name,) = self.driver.get_available_nodes()
        self.assertEqual({NODE: name}, self.driver.get_nodenames_by_uuid())
        found = self.driver.get_available_resource(name)
        self.assertEqual((name, NODE), (found["hypervisor_hostname"], found["uuid"]))
        self.assertIn(("aarch64", "qemu", "hvm"), found["supported_instances"])
        for each in found["supported_instances"]:
            objects.HVSpec.from_list(each)  # refuses names that nova does not have
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
