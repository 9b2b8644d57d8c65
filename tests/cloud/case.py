# SPDX-License-Identifier: Apache-2.0
"""What the tests in the cloud share: the driver under test, and servers that several tests use."""

from __future__ import annotations

import unittest
import uuid
from typing import Any

from tests.cloud import layout, lifecycle, populate, servers
from tests.cloud.configuration import DRIVER
from tests.cloud.install import NOVA_RELEASES
from tests.cloud.layout import Layout
from tests.cloud.servers import Server

CLOUD = Layout(layout.default())


class CloudCase(unittest.TestCase):
    """A test with the driver under test in nova-compute.

    Tests that keep their server share one server per class; other tests get a new server.
    """

    #: Text of one more configuration file of nova-compute, and nova-compute's release.
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
        """Return an active server after its boot.

        :param wanted: of ``servers.create``; with any parameter the server is a new one
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
        """Return an active server and its boot ID."""
        server = self.use()
        return server, server.boot_id()

    def make(self, **wanted: Any) -> Server:
        """Return a new server, which the end of the test deletes unless the test keeps it."""
        (server,) = servers.create(CLOUD, **wanted)
        self.addCleanup(self._close_unless_kept, server)
        return server

    def keep(self, server: Server) -> None:
        """Leave a server to the next test of the class."""
        type(self).server = server

    def flavor(self, **extra_specs: str) -> str:
        """Make a flavor with one processor for the time of the test, and return its name."""
        compute = self.session.compute
        made = compute.create_flavor(
            name=f"flavor-{uuid.uuid4().hex[:8]}", ram=192, disk=1, vcpus=1
        )
        self.addCleanup(compute.delete_flavor, made.id)
        compute.create_flavor_extra_specs(made.id, extra_specs)
        return str(made.name)

    def _close_unless_kept(self, server: Server) -> None:
        if self.server is not server:
            server.close()
