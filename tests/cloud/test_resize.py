# SPDX-License-Identifier: Apache-2.0
"""A server gets another flavor, or migrates to the same host."""

from __future__ import annotations

from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.configuration import DRIVER, IN_TREE
from tests.cloud.results import note, recorded
from tests.cloud.servers import Server


class TestResize(CloudCase):
    def test_resize_and_revert(self) -> None:
        server = self.use()
        server.write("kept")
        self.resize(server, "resize", "small")
        self.assertEqual(("2", 2 << 30), _size(server))
        with recorded("revert resize"):
            server.act("revert resize", "ACTIVE")
        server.boot_id()
        self.assertEqual(("1", 1 << 30), _size(server))
        self.assertEqual("kept", server.read())
        self.keep(server)

    def test_resize_and_confirm(self) -> None:
        server = self.use()
        server.write("kept")
        self.resize(server, "resize", "small")
        boot = server.boot_id()
        with recorded("confirm resize"):
            server.act("confirm resize", "ACTIVE")
        self.assertEqual(boot, server.boot_id())
        self.assertEqual("kept", server.read())
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.assertEqual(("2", 2 << 30), _size(server))
        (allocation,) = server.allocations().values()
        self.assertEqual({"VCPU": 2, "MEMORY_MB": 256, "DISK_GB": 2}, allocation["resources"])
        files = [trace for trace in server.traces() if trace.startswith("file ")]
        self.assertEqual([f"file {CLOUD.state}/nova/instances/{server.id}"], files)

    def test_resize_stopped(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        self.resize(server, "resize stopped", "small")
        with recorded("confirm resize stopped"):
            server.act("confirm resize", "SHUTOFF")
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertEqual(("2", 2 << 30), _size(server))

    def test_cold_migration_to_the_same_host(self) -> None:
        server, before = self.booted()
        if DRIVER == IN_TREE:
            note("cold migration", "not supported")
            self.keep(server)
            return
        server.write("kept")
        with recorded("cold migration"):
            server.act("migrate", "VERIFY_RESIZE")
        self.assertNotEqual(before, server.boot_id())
        with recorded("confirm cold migration"):
            server.act("confirm resize", "ACTIVE")
        server.boot_id()
        self.assertEqual("kept", server.read())
        self.keep(server)

    def resize(self, server: Server, operation: str, flavor: str) -> None:
        chosen = self.session.compute.find_flavor(flavor)
        with recorded(operation):
            server.act("resize", "VERIFY_RESIZE", flavor=chosen.id)
        if "stopped" not in operation:
            server.boot_id()


def _size(server: Server) -> tuple[str, int]:
    """Return the number of processors and the size of the disk in bytes."""
    processors, sectors = server.ssh(
        "grep -c ^processor /proc/cpuinfo; cat /sys/class/block/vda/size"
    ).split()
    return processors, int(sectors) * 512
