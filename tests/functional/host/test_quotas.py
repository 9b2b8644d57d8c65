# SPDX-License-Identifier: Apache-2.0
"""Quotas of disks and interfaces, measured, and of processors, refused by the embedded libvirt."""

from __future__ import annotations

import dataclasses
import subprocess

from compute_driver import exceptions
from compute_driver.choices import RebootKind
from compute_driver.guest import MIB, Disk, Guest
from compute_driver.limits import Bandwidth, CpuLimits, DiskLimits
from compute_driver.system import tools
from tests.functional import base, bridges, inside

#: Reads a disk for the first time, so the guest's memory does not hold its data.
_READ = "dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null"
_CLOCK = "cut -d' ' -f1 /proc/uptime"

_SIZE = 24 * MIB


class TestDisks(base.HostTestCase):
    def seconds(self, limits: DiskLimits | None) -> float:
        """Return the seconds that a guest takes to read a disk."""
        disk = Disk(size_bytes=_SIZE)
        made = self.spawn(ephemerals=(disk,), disk_limits=limits, interfaces=(), boot=base.kernel())
        before, after = inside.run(self.driver, made, f"{_CLOCK}; {_READ}; {_CLOCK}").split()
        return float(after) - float(before)

    def test_limited_disk_is_slower(self) -> None:
        free = self.seconds(None)
        # A rate at which the read takes ten times as long, on a busy host too.
        slow = max(1, int(_SIZE / max(1.0, 12 * free)))
        self.assertGreater(self.seconds(DiskLimits(read_bytes_sec=slow)), 4 * free)


class TestInterfaces(base.HostTestCase):
    def classes(self, device: str) -> str:
        """Return Linux's limits for the traffic to a guest."""
        tc = tools.locate("tc")
        assert tc is not None
        return subprocess.run(
            [tc, "class", "show", "dev", device], check=True, capture_output=True, text=True
        ).stdout

    def assert_shaped(self, made: Guest, device: str) -> None:
        self.addCleanup(self.driver.destroy, made.uuid)
        if not bridges.can_shape():
            # The refusal names the missing program, and nothing is left.
            with self.assertRaisesRegex(exceptions.HostError, "tc"):
                self.driver.spawn(made)
            return
        self.driver.spawn(made)
        self.assertIn("rate 800Kbit", self.classes(device))
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIn("rate 800Kbit", self.classes(device))

    def test_on_a_bridge(self) -> None:
        with bridges.bridge() as name:
            nic = dataclasses.replace(bridges.plugged(name), inbound=Bandwidth(average=100))
            nic = dataclasses.replace(nic, device=f"cdq{nic.mac.replace(':', '')[-8:]}")
            self.assert_shaped(base.guest(interfaces=(nic,), boot=base.kernel()), str(nic.device))


class TestProcessors(base.HostTestCase):
    def test_own_daemon_cannot_limit_them(self) -> None:
        made = base.guest(cpu_limits=CpuLimits(shares=100), interfaces=(), boot=base.kernel())
        with self.assertRaisesRegex(exceptions.NotOnThisHost, "connection_uri"):
            self.driver.spawn(made)
