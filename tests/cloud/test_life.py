# SPDX-License-Identifier: Apache-2.0
"""The life of a server, by the cloud's own API."""

from __future__ import annotations

from tests.cloud import core
from tests.cloud.results import recorded


class TestLife(core.CoreTests):
    def test_pause_and_unpause(self) -> None:
        server, before = self.booted()
        with recorded("pause"):
            server.act("pause", "PAUSED")
        self.assertFalse(server.ping())
        with recorded("unpause"):
            server.act("unpause", "ACTIVE")
        self.assertEqual(before, server.boot_id())
        self.keep(server)

    def test_suspend_and_resume(self) -> None:
        server, before = self.booted()
        with recorded("suspend"):
            server.act("suspend", "SUSPENDED")
        self.assertFalse(server.ping())
        with recorded("resume"):
            server.act("resume", "ACTIVE")
        with recorded("resume until SSH"):
            self.assertEqual(before, server.boot_id())
        self.keep(server)
