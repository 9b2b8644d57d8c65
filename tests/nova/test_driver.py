# SPDX-License-Identifier: Apache-2.0
"""Nova loads the driver and hears of changes of guests."""

from __future__ import annotations

import queue
from typing import Any

from nova.virt import event

from compute_driver.nova.driver import NovaDriver
from tests.nova.base import NovaCase


class ServiceTest(NovaCase):
    def test_nova_loads_it(self) -> None:
        self.assertIsInstance(self.driver, NovaDriver)
        self.assertEqual("192.0.2.7", self.driver.get_host_ip_addr())

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
