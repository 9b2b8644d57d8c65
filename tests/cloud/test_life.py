# SPDX-License-Identifier: Apache-2.0
"""A server through its life, by the cloud's own API."""

from __future__ import annotations

import os
import unittest

from tests.cloud import layout, lifecycle
from tests.cloud.configuration import DEFAULT_DRIVER
from tests.cloud.install import NOVA_RELEASES
from tests.cloud.layout import Layout
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server
from tests.functional.base import BANNER

#: The driver under test, as nova's option ``compute_driver`` has it.
DRIVER = os.environ.get("COMPUTE_DRIVER_CLOUD_DRIVER", DEFAULT_DRIVER)

CLOUD = Layout(layout.default())


def setUpModule() -> None:
    if not lifecycle.is_up(CLOUD):
        raise unittest.SkipTest("no cloud is up: python -m tests.cloud up")
    if lifecycle.driver_in_use(CLOUD) != DRIVER:
        lifecycle.compute(CLOUD, DRIVER, "", NOVA_RELEASES[0])


class TestLife(unittest.TestCase):
    """One server serves all tests that leave it as they found it; others get a new one."""

    server: Server | None = None

    @classmethod
    def tearDownClass(cls) -> None:
        cls._discard()

    @classmethod
    def _discard(cls) -> None:
        if cls.server:
            cls.server.close()
            cls.server = None

    def use(self) -> tuple[Server, str]:
        """Returns an active server, and what its kernel made up as it booted."""
        server, type(self).server = self.server, None
        if server is None:
            server = Server(CLOUD)
            self.addCleanup(self._close_unless_kept, server)
            server.wait("ACTIVE")
        else:
            self.addCleanup(self._close_unless_kept, server)
        return server, server.boot_id()

    def keep(self, server: Server) -> None:
        """Leaves a server to the next test."""
        type(self).server = server

    def _close_unless_kept(self, server: Server) -> None:
        if self.server is not server:
            server.close()

    def test_boot(self) -> None:
        with recorded("boot"):
            server = Server(CLOUD)
            self.addCleanup(self._close_unless_kept, server)
            server.wait("ACTIVE")
        with recorded("boot until SSH"):
            server.boot_id()
        with recorded("ping"):
            self.assertTrue(server.ping())
        with recorded("metadata"):
            self.assertEqual(server.name, server.ssh("hostname").strip().partition(".")[0])
        with recorded("console output"):
            console = server.console()
        for fact in (BANNER, f"GUEST-UUID: {server.id}", "GUEST-KEYS: 1", "GUEST-LEASE: "):
            self.assertIn(fact, console)
        self.assertEqual(1, len(server.allocations()))
        self.keep(server)

    def test_reboot_soft(self) -> None:
        server, before = self.use()
        with recorded("reboot soft"):
            server.act("reboot", "ACTIVE", reboot_type="SOFT")
        with recorded("reboot soft until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_reboot_hard(self) -> None:
        server, before = self.use()
        with recorded("reboot hard"):
            server.act("reboot", "ACTIVE", reboot_type="HARD")
        with recorded("reboot hard until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_stop_and_start(self) -> None:
        server, before = self.use()
        with recorded("stop"):
            server.act("stop", "SHUTOFF")
        self.assertFalse(server.ping())
        with recorded("start"):
            server.act("start", "ACTIVE")
        with recorded("start until SSH"):
            self.assertNotEqual(before, server.boot_id())
        self.keep(server)

    def test_pause_and_unpause(self) -> None:
        server, before = self.use()
        with recorded("pause"):
            server.act("pause", "PAUSED")
        self.assertFalse(server.ping())
        with recorded("unpause"):
            server.act("unpause", "ACTIVE")
        self.assertEqual(before, server.boot_id())
        self.keep(server)

    def test_suspend_and_resume(self) -> None:
        server, before = self.use()
        with recorded("suspend"):
            server.act("suspend", "SUSPENDED")
        self.assertFalse(server.ping())
        with recorded("resume"):
            server.act("resume", "ACTIVE")
        with recorded("resume until SSH"):
            self.assertEqual(before, server.boot_id())
        self.keep(server)

    def test_delete_leaves_nothing(self) -> None:
        server, _ = self.use()
        self.assertEqual(5, len({trace.partition(" ")[0] for trace in server.traces()}))
        with recorded("delete"):
            server.delete()
        # What neutron's agents do comes after nova's answer.
        eventually("no trace", DEADLINE, lambda: not server.traces())
