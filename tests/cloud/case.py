# SPDX-License-Identifier: Apache-2.0
"""What the tests in the cloud share: the driver under test, and servers that are used again."""

from __future__ import annotations

import unittest
from typing import Any

from tests.cloud import layout, lifecycle, populate, servers
from tests.cloud.configuration import DRIVER
from tests.cloud.install import NOVA_RELEASES
from tests.cloud.layout import Layout
from tests.cloud.servers import Server

CLOUD = Layout(layout.default())


class CloudCase(unittest.TestCase):
    """A test with the driver under test in nova-compute.

    One server serves all tests of a class that leave it as they found it; others get a new one.
    """

    #: More configuration of nova-compute's, and its release.
    extra = ""
    nova = NOVA_RELEASES[0]

    server: Server | None = None
    session: Any

    @classmethod
    def setUpClass(cls) -> None:
        if not lifecycle.is_up(CLOUD):
            raise unittest.SkipTest("no cloud is up: python -m tests.cloud up")
        lifecycle.compute(CLOUD, DRIVER, cls.extra, cls.nova, reuse=True)
        cls.session = populate.connect(CLOUD)

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.server:
            cls.server.close()
            cls.server = None

    def use(self, **wanted: Any) -> Server:
        """Returns an active server that was booted before.

        :param wanted: what ``servers.create`` takes; with any the server is a new one
        """
        server, type(self).server = (None, self.server) if wanted else (self.server, None)
        if server is not None:
            self.addCleanup(self._close_unless_kept, server)
        if server is None or server.status != "ACTIVE":
            server = self.make(**wanted)
            server.wait("ACTIVE")
        server.boot_id()
        return server

    def booted(self) -> tuple[Server, str]:
        """Returns such a server, and what its kernel made up as it booted."""
        server = self.use()
        return server, server.boot_id()

    def make(self, **wanted: Any) -> Server:
        """Returns a new server that goes with the test, unless it is kept."""
        (server,) = servers.create(CLOUD, **wanted)
        self.addCleanup(self._close_unless_kept, server)
        return server

    def keep(self, server: Server) -> None:
        """Leaves a server to the next test."""
        type(self).server = server

    def _close_unless_kept(self, server: Server) -> None:
        if self.server is not server:
            server.close()
