# SPDX-License-Identifier: Apache-2.0
"""Ceilometer finds instances in libvirt by their metadata, and measures them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, ClassVar

from tests import guests
from tests.functional import bridges, inside
from tests.nova import glance
from tests.nova.base import IMAGE, PORT
from tests.nova.real import GuestCase

#: What a guest with a disk, an interface and a memory balloon is measured by.
METERS = {
    *("cpu", "vcpus", "power.state"),
    *("memory", "memory.available", "memory.resident", "memory.usage"),
    *("memory.swap.in", "memory.swap.out"),
    *("disk.root.size", "disk.ephemeral.size"),
    *(f"disk.device.{name}" for name in ("allocation", "capacity", "usage")),
    *(
        f"disk.device.{way}.{name}"
        for way in ("read", "write")
        for name in ("bytes", "latency", "requests")
    ),
    *(
        f"network.{way}.{name}"
        for way in ("incoming", "outgoing")
        for name in ("bytes", "bytes.delta", "packets", "packets.drop", "packets.error")
    ),
}


class CeilometerTest(GuestCase):
    options: ClassVar = {"memory_stats_seconds": 1}

    def measure(self) -> Any:
        """Return what the agent finds and measures."""
        uri = self.guests.host_show().connection_uri
        command = [sys.executable, "-W", "ignore", "-m", "tests.telemetry.agent", uri]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def test_instance_is_found_and_measured(self) -> None:
        instance = self.instance(**{"hw:cpu_policy": "shared"})
        disk = guests.build("basic").disk
        with bridges.bridge() as bridge, glance.serving(disk.read_bytes(), "qcow2"):
            network = {"bridge": bridge, "meta": {}, "subnets": []}
            vif = {"id": PORT, "address": "fa:16:3e:00:00:01", "type": "bridge", "details": {}}
            self.spawn(instance, vifs=[vif | {"network": network}])
            self.boots(instance)
            # The guest tells its use of memory while the command runs.
            inside.run(self.guests, instance, "sleep 3; dd if=/dev/vda of=/dev/null bs=1M count=8")
            result = self.measure()
            self.driver.destroy(self.context, instance, [])

        (server,) = result["instances"]
        expected = {
            "id": instance.uuid,
            "name": "web",
            "OS-EXT-SRV-ATTR:instance_name": instance.name,
            "status": "active",
            "user_id": "user",
            "tenant_id": "project",
        }
        self.assertEqual(expected, {name: server[name] for name in expected})
        self.assertEqual({"hw:cpu_policy": "shared"}, server["flavor"]["extra_specs"])
        self.assertEqual((192, 1), (server["flavor"]["ram"], server["flavor"]["disk"]))
        self.assertEqual(IMAGE, server["image"]["id"])

        volumes = result["meters"]
        self.assertEqual(set(), METERS - set(volumes))
        self.assertGreater(volumes["cpu"][0], 0)
        self.assertTrue(0 < volumes["memory.usage"][0] < 192, volumes["memory.usage"])
        self.assertGreater(sum(volumes["disk.device.read.bytes"]), 8 * 1024**2)
        self.assertGreater(volumes["network.outgoing.bytes"][0], 0)
