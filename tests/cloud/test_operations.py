# SPDX-License-Identifier: Apache-2.0
"""Other operations on a server, by the cloud's own API."""

from __future__ import annotations

from tests.cloud import populate
from tests.cloud.case import CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE
from tests.functional.base import BANNER


class TestRebuild(CloudCase):
    def test_rebuild(self) -> None:
        server, before = self.booted()
        address = server.port.fixed_ips
        server.write("old")
        with recorded("rebuild"):
            server.act("rebuild", "ACTIVE", image=self.session.image.find_image(server.image).id)
        self.assertNotEqual(before, server.boot_id())
        self.assertEqual("", server.read())
        self.assertEqual(address, self.session.network.get_port(server.port.id).fixed_ips)
        self.keep(server)

    def test_rebuild_stopped(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        with recorded("rebuild stopped"):
            server.act("rebuild", "SHUTOFF", image=self.session.image.find_image(server.image).id)
        server.act("start", "ACTIVE")
        server.boot_id()
        self.keep(server)

    def test_shelve_and_unshelve(self) -> None:
        server, before = self.booted()
        server.write("shelved")
        with recorded("shelve"):
            server.act("shelve", "SHELVED_OFFLOADED")
        left = [trace for trace in server.traces() if not trace.endswith("of neutron")]
        self.assertEqual([], left)
        with recorded("unshelve"):
            server.act("unshelve", "ACTIVE")
        self.assertNotEqual(before, server.boot_id())
        self.assertEqual("shelved", server.read())
        self.assertEqual(1, len(server.allocations()))
        self.keep(server)


class TestInside(CloudCase):
    """Operations that reach into a guest, and a guest's own actions."""

    def test_config_drive(self) -> None:
        with recorded("boot with a config drive"):
            server = self.make(config_drive=True, user_data="IyEvYmluL3NoCmVjaG8gZnJvbSBib290Cg==")
            server.wait("ACTIVE")
        server.boot_id()
        self.assertIn("/config ", server.ssh("cat /proc/mounts"))
        eventually("user data", DEADLINE, lambda: "from boot" in server.console())
        console = server.console()
        for fact in (BANNER, f"GUEST-UUID: {server.id}", "GUEST-KEYS: 1", "label=config-2"):
            self.assertIn(fact, console)
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.assertIn("/config ", server.ssh("cat /proc/mounts"))

    def test_diagnostics(self) -> None:
        server = self.use()
        with recorded("diagnostics"):
            found = server.get("/diagnostics", "2.48")
        self.assertEqual(("running", 1), (found["state"], found["num_cpus"]))
        self.assertEqual((1, 1), (found["num_disks"], found["num_nics"]))
        self.assertEqual(server.port.mac_address, found["nic_details"][0]["mac_address"])
        self.assertGreater(found["nic_details"][0]["rx_octets"], 0)
        self.assertGreater(found["disk_details"][0]["read_bytes"], 0)
        self.assertGreater(found["cpu_details"][0]["time"], 0)
        with recorded("diagnostics, old form"):
            old = server.get("/diagnostics", "2.1")
        self.assertGreater(old["vda_read"], 0)
        self.assertEqual(192 * 1024, old["memory"])
        self.keep(server)

    def test_crash_dump(self) -> None:
        server = self.use()
        interrupts = lambda: int(server.ssh("grep NMI: /proc/interrupts").split()[1])  # noqa: E731
        before = interrupts()
        with recorded("crash dump"):
            server.act("trigger crash_dump", "ACTIVE")
            eventually("the interrupt", DEADLINE, lambda: interrupts() > before)
        self.keep(server)

    def test_password(self) -> None:
        server = self.use(image=populate.AGENT_IMAGE)
        with recorded("set password"):
            server.act("change password", "ACTIVE", new_password="0therThanBefore")
        self.assertIn("root:$", server.ssh("cat /etc/passwd"))

    def test_guest_powers_itself_off(self) -> None:
        server = self.use()
        with recorded("guest powers itself off"):
            server.ssh("(sleep 1; /etc/guest/down poweroff) >/dev/null 2>&1 &")
            server.wait("SHUTOFF")
        server.act("start", "ACTIVE")
        server.boot_id()
        self.keep(server)

    def test_guest_that_reboots_itself_stays_active(self) -> None:
        server, before = self.booted()
        with recorded("guest reboots itself"):
            server.ssh("(sleep 1; /etc/guest/down reboot) >/dev/null 2>&1 &")
            eventually("an end", DEADLINE, lambda: not server.ping())
            self.assertNotEqual(before, server.boot_id())
        self.assertEqual("ACTIVE", server.status)
        self.keep(server)


class TestBin(CloudCase):
    def test_soft_delete_and_restore(self) -> None:
        server, before = self.booted()
        with recorded("soft delete"):
            self.session.compute.delete_server(server.id)
            server.wait("SOFT_DELETED")
        self.assertFalse(server.ping())
        with recorded("restore"):
            server.act("restore", "ACTIVE")
        self.assertNotEqual(before, server.boot_id())
        self.keep(server)
