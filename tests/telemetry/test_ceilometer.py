# SPDX-License-Identifier: Apache-2.0
"""Ceilometer finds instances in libvirt by their metadata, and measures them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, ClassVar

import libvirt
from lxml import etree

from benchmarks import rivals
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


class NovaGuest(rivals.NovaLibvirt):
    """A guest of nova's own driver, on a bridge.

    :param bridge: the bridge's name.
    """

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        super().__init__(interpreter=sys.executable)

    def prepare(self) -> None:
        super().prepare()
        domain = etree.fromstring(self._xml)
        for interface in domain.iterfind("devices/interface"):
            interface.set("type", "bridge")
            etree.SubElement(interface, "source", bridge=self._bridge)
        self._xml = etree.tostring(domain, encoding="unicode")


class CeilometerTest(GuestCase):
    options: ClassVar = {"memory_stats_seconds": 1}

    def spawn_on(self, bridge: str, **settings: Any) -> Any:
        """Return an instance that has booted, with one interface on a bridge."""
        self.enterContext(glance.serving(guests.build("basic").disk.read_bytes(), "qcow2"))
        instance = self.instance(**settings)
        network = {"bridge": bridge, "meta": {}, "subnets": []}
        vif = {"id": PORT, "address": "fa:16:3e:00:00:01", "type": "bridge", "details": {}}
        self.spawn(instance, vifs=[vif | {"network": network}])
        self.addCleanup(self.driver.destroy, self.context, instance, [])
        self.boots(instance)
        return instance

    def measure(self) -> Any:
        """Return what the agent finds and measures."""
        uri = self.guests.host_show().connection_uri
        command = [sys.executable, "-W", "ignore", "-m", "tests.telemetry.agent", uri]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def test_instance_is_found_and_measured(self) -> None:
        bridge = self.enterContext(bridges.bridge())
        instance = self.spawn_on(bridge, **{"hw:cpu_policy": "shared"})
        # The guest tells its use of memory while the command runs.
        inside.run(self.guests, instance, "sleep 3; dd if=/dev/vda of=/dev/null bs=1M count=8")
        result = self.measure()

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

        volumes = {
            meter: [volume for _resource, volume in samples]
            for meter, samples in result["meters"].items()
        }
        self.assertEqual(set(), METERS - set(volumes))
        self.assertGreater(volumes["cpu"][0], 0)
        self.assertTrue(0 < volumes["memory.usage"][0] < 192, volumes["memory.usage"])
        self.assertGreater(sum(volumes["disk.device.read.bytes"]), 8 * 1024**2)
        self.assertGreater(volumes["network.outgoing.bytes"][0], 0)

    def test_meters_are_those_of_a_guest_of_nova_s_own_driver(self) -> None:
        bridge = self.enterContext(bridges.bridge())
        instance = self.spawn_on(bridge)
        theirs = NovaGuest(bridge)
        self.addCleanup(theirs.close)
        theirs.prepare()
        self.addCleanup(theirs.destroy)
        theirs.spawn()
        theirs.wait()
        uuids = [instance.uuid, theirs.guest.uuid]
        for uuid in uuids:
            self.wait_for_memory_statistics(uuid)

        result = self.measure()
        self.assertEqual(sorted(uuids), sorted(server["id"] for server in result["instances"]))
        ours, others = (
            {
                meter
                for meter, samples in result["meters"].items()
                if any(uuid in resource for resource, _volume in samples)
            }
            for uuid in uuids
        )
        self.assertEqual(others, ours)
        self.assertEqual(set(), METERS - ours)

    def wait_for_memory_statistics(self, uuid: str) -> None:
        """Return when a guest has told its use of memory; libvirt tells no event of the answer."""
        connection = libvirt.open(self.guests.host_show().connection_uri)
        self.addCleanup(connection.close)
        domain, deadline = connection.lookupByUUIDString(uuid), time.monotonic() + 60
        while "unused" not in domain.memoryStats():
            self.assertLess(time.monotonic(), deadline, f"guest {uuid} tells no use of memory")
            time.sleep(0.2)
