# SPDX-License-Identifier: Apache-2.0
"""Instances are made, listed and removed; the guests are simulated."""

from __future__ import annotations

from typing import Any

from nova import exception
from nova.compute import power_state

from tests.nova.base import PORT, NovaCase


class LifecycleTest(NovaCase):
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
