# SPDX-License-Identifier: Apache-2.0
"""Real guests through nova's interface."""

from __future__ import annotations

import queue
from typing import Any, ClassVar

from nova.conf import CONF

from compute_driver.driver import ComputeDriver
from compute_driver.nova import configuration
from tests.functional.base import BANNER, BOOT_TIMEOUT, state_path
from tests.nova.base import NovaCase, configure


class GuestCase(NovaCase):
    """A test with a private libvirt daemon.

    :ivar guests: the driver behind nova's driver.
    """

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        configure()
        configuration.register()
        for name, value in {
            "driver": "libvirt",
            "connection_uri": "",  # a private libvirt daemon
            "state_path": str(state_path()),
            "instances_path": str(state_path() / "instances"),
            "image_cache_path": str(state_path() / "images"),
            "vnc_listen": "127.0.0.1",
            "serial_listen": "127.0.0.1",
            **self.options,
        }.items():
            CONF.set_override(name, value, "hypervisor")
            self.addCleanup(CONF.clear_override, name, "hypervisor")
        super().setUp()
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.driver.init_host("host")
        self.driver.register_event_listener(self.told.put)
        self.guests: ComputeDriver = self.driver._driver

    def until(self, transition: int) -> list[int]:
        """Return the transitions that nova hears of before *transition*."""
        return list(iter(lambda: self.told.get(timeout=30).get_transition(), transition))

    def boots(self, instance: Any, skip_bytes: int = 0) -> None:
        self.guests.console_wait(instance.uuid, BANNER, timeout=BOOT_TIMEOUT, skip_bytes=skip_bytes)

    def state(self, instance: Any) -> int:
        return int(self.driver.get_info(instance).state)
