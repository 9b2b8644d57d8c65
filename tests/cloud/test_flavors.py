# SPDX-License-Identifier: Apache-2.0
"""Disks, queues and quotas of flavors, and extra specs that the driver refuses."""

from __future__ import annotations

import unittest
from pathlib import Path

from tests.cloud.case import CloudCase
from tests.cloud.configuration import DRIVER, IN_TREE
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server

#: Prints size in sectors, content's type and label of each disk, with the guest's own scripts.
_LOOK_AT_DISKS = """cd /sys/class/block; . /etc/guest/lib.sh; . /etc/guest/disks.sh
for name in vd?; do probe $name; echo $name $(cat $name/size) $fs $label; done"""

#: Of flavor "large": root, ephemeral and swap.
_DISKS = {"vda": 1 << 30, "vdb": 1 << 30, "vdc": 64 << 20}


class TestLarge(CloudCase):
    """Flavor "large" has an ephemeral disk, swap, a quota, and a queue for each processor."""

    def test_disks_queues_and_quota(self) -> None:
        with recorded("boot with swap and an ephemeral disk"):
            server = self.make(flavor="large")
            server.wait("ACTIVE")
        server.boot_id()
        self.assert_disks(server)
        with recorded("reboot hard with swap and an ephemeral disk"):
            server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.assert_disks(server)

    def assert_disks(self, server: Server) -> None:
        lines = [line.split() for line in server.ssh(_LOOK_AT_DISKS).splitlines()]
        with recorded("swap and ephemeral disk"):
            self.assertEqual(_DISKS, {name: int(size) * 512 for name, size, *_ in lines})
            contents = {name: (kind, label) for name, _, kind, label in lines}
            self.assertEqual(("ext", "ephemeral0"), contents["vdb"])
            self.assertEqual("swap", contents["vdc"][0])
        with recorded("quota of disks"):
            limits = server.description().findall("devices/disk/iotune/read_iops_sec")
            self.assertEqual(["1000"] * len(_DISKS), [limit.text for limit in limits])
        with recorded("multiqueue"):
            self.assertEqual("2", server.ssh("ls -d /sys/class/net/e*/queues/rx-* | wc -l").strip())


@unittest.skipIf(DRIVER == IN_TREE, "nova's own driver does not refuse a guest NUMA nodes")
class TestRefusal(CloudCase):
    def test_refused_extra_spec_is_named_and_leaves_nothing(self) -> None:
        before = set(Path("/sys/class/net").glob("tap*"))
        with recorded("extra spec that is refused"):
            server = self.make(flavor=self.flavor(**{"hw:numa_nodes": "1"}))
            eventually("an error", DEADLINE, lambda: server.status == "ERROR")
            self.assertIn("hw:numa_nodes", server.get()["server"]["fault"]["message"])
        eventually("no trace", DEADLINE, lambda: not server.traces())
        self.assertLessEqual(set(Path("/sys/class/net").glob("tap*")), before)
