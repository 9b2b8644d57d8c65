# SPDX-License-Identifier: Apache-2.0
"""The core of a server's life, for every release and mode of nova-compute."""

from __future__ import annotations

import contextlib

from tests.cloud.case import CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE
from tests.functional.base import BANNER


class CoreTests(CloudCase):
    #: Prefix of the operations in the table of results.
    prefix = ""

    def recorded(self, operation: str) -> contextlib.AbstractContextManager[None]:
        return recorded(self.prefix + operation)

    def test_boot(self) -> None:
        with self.recorded("boot"):
            server = self.make()
            server.wait("ACTIVE")
        with self.recorded("boot until SSH"):
            server.boot_id()
        with self.recorded("ping"):
            self.assertTrue(server.ping())
        with self.recorded("metadata"):
            self.assertEqual(server.name, server.ssh("hostname").strip().partition(".")[0])
        with self.recorded("console output"):
            console = server.console()
        for fact in (BANNER, f"GUEST-UUID: {server.id}", "GUEST-KEYS: 1", "GUEST-LEASE: "):
            self.assertIn(fact, console)
        self.assertEqual(1, len(server.allocations()))
        self.keep(server)

    def test_reboot_soft(self) -> None:
        server, before = self.booted()
        with self.recorded("reboot soft"):
            server.act("reboot", "ACTIVE", reboot_type="SOFT")
        with self.recorded("reboot soft until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_reboot_hard(self) -> None:
        server, before = self.booted()
        with self.recorded("reboot hard"):
            server.act("reboot", "ACTIVE", reboot_type="HARD")
        with self.recorded("reboot hard until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_stop_and_start(self) -> None:
        server, before = self.booted()
        with self.recorded("stop"):
            server.act("stop", "SHUTOFF")
        self.assertFalse(server.ping())
        with self.recorded("start"):
            server.act("start", "ACTIVE")
        with self.recorded("start until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_delete_leaves_nothing(self) -> None:
        server = self.use()
        self.assertEqual(5, len({trace.partition(" ")[0] for trace in server.traces()}))
        with self.recorded("delete"):
            server.delete()
        # Neutron's agents remove the port after nova's answer.
        eventually("no trace", DEADLINE, lambda: not server.traces())
