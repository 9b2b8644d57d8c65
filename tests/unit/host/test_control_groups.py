# SPDX-License-Identifier: Apache-2.0
"""Limits of processors are refused on hosts where libvirt cannot set them."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.host import control_groups
from compute_driver.limits import CpuLimits

SYSTEM = "qemu:///system"
LIMITS = CpuLimits(shares=512)


class CgroupsTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        mounts = mock.patch.object(control_groups, "MOUNTS", self.home / "mounts")
        mounts.start()
        self.addCleanup(mounts.stop)
        self.mounted("proc /proc proc rw 0 0")

    def mounted(self, *lines: str) -> None:
        (self.home / "mounts").write_text("".join(f"{line}\n" for line in lines))

    def refused(self, limits: CpuLimits = LIMITS, uri: str | None = SYSTEM) -> str:
        with self.assertRaises(exceptions.NotOnThisHost) as caught:
            control_groups.check_cpu_limits(limits, uri)
        return str(caught.exception)

    def test_no_limits_need_nothing(self) -> None:
        control_groups.check_cpu_limits(None, None)

    def test_only_the_system_daemon_has_control_groups(self) -> None:
        self.mounted("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0")
        control_groups.check_cpu_limits(LIMITS, SYSTEM)
        control_groups.check_cpu_limits(LIMITS, "qemu+unix:///system?socket=/run/x")
        for uri in (None, "qemu:///session"):
            self.assertIn("connection_uri", self.refused(uri=uri))

    def test_a_host_without_the_controller(self) -> None:
        self.mounted("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0")
        self.assertIn("no control group controller", self.refused())

    def test_version_two_of_control_groups(self) -> None:
        self.mounted(f"cgroup2 {self.home} cgroup2 rw 0 0")
        self.refused()
        (self.home / "cgroup.controllers").write_text("cpuset cpu io\n")
        control_groups.check_cpu_limits(LIMITS, SYSTEM)
        self.assertIn("1 to 10000", self.refused(CpuLimits(shares=10001)))
