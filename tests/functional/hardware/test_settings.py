# SPDX-License-Identifier: Apache-2.0
"""The operator's settings reach the emulator of a guest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from compute_driver.guest import MIB, Cpu, Interface
from tests.functional import base, tiny


class TestSettings(base.HostTestCase):
    options: ClassVar = {
        "virt_type": "qemu",
        "guest_cpus": "0",
        "cpu_features": ["-vme"],
        "disk_cache_modes": {"file": "unsafe"},
        "disk_discard": "ignore",
        "nic_rx_queue_size": 512,
        "preallocate_disks": True,
    }

    def test_emulator_has_all_settings(self) -> None:
        made = tiny.guest(interfaces=(Interface(),), cpu=Cpu(model="Nehalem"))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        pid = tiny.emulators()[made.uuid]
        self.assertEqual({0}, os.sched_getaffinity(pid))
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        card = json.loads(next(word for word in command if '"virtio-net' in word))
        self.assertEqual(512, card["rx_queue_size"])
        nodes = [json.loads(word) for word in command if '"node-name":"libvirt-1-' in word]
        self.assertTrue(all(node["cache"]["no-flush"] for node in nodes), nodes)
        self.assertIn("ignore", {node.get("discard") for node in nodes})
        self.assertIn("vme=off", next(word for word in command if word.startswith("Nehalem")))
        disk = self.driver._parts.plan(made).disks[0].source.path
        self.assertGreaterEqual(disk.stat().st_blocks * 512, MIB)
        self.assertEqual(1, self.driver.host_show().cpus)
