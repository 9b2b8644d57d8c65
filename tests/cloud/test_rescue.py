# SPDX-License-Identifier: Apache-2.0
"""A server boots a rescue system, and then its own system again."""

from __future__ import annotations

from tests.cloud import populate
from tests.cloud.case import CloudCase
from tests.cloud.results import recorded
from tests.cloud.servers import Server


class TestRescue(CloudCase):
    def test_rescue(self) -> None:
        server, before = self.booted()
        server.write("mine")
        with recorded("rescue"):
            server.act("rescue", "RESCUE")
        with recorded("rescue until SSH"):
            rescued = server.boot_id()
        self.assertNotEqual(before, rescued)
        self.assertEqual(("", "mine"), (server.read(), server.read("/dev/vdb1")))
        with recorded("unrescue"):
            server.act("unrescue", "ACTIVE")
        self.assertNotEqual(rescued, server.boot_id())
        self.assertEqual("mine", server.read())
        self.assertEqual(["vda"], _disks(server))
        self.keep(server)

    def test_rescue_with_stable_devices(self) -> None:
        server = self.use()
        server.write("mine")
        image = self.session.image.find_image(populate.RESCUE_IMAGE)
        with recorded("rescue, stable devices"):
            server.act("rescue", "RESCUE", image=image.id)
        server.boot_id()
        self.assertEqual(("mine", ""), (server.read(), server.read("/dev/vdb1")))
        with recorded("unrescue, stable devices"):
            server.act("unrescue", "ACTIVE")
        server.boot_id()
        self.assertEqual("mine", server.read())
        self.keep(server)


def _disks(server: Server) -> list[str]:
    return server.ssh("cd /sys/class/block; ls -d vd? 2>/dev/null").split()
