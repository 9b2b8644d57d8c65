# SPDX-License-Identifier: Apache-2.0
"""Programs under limits, and the errors of their failures."""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import GIB, MIB
from compute_driver.system import tools
from tests.image_server import configured

LIMITS = tools.ToolLimits(cpu_seconds=60, memory_bytes=GIB)


class ToolsTest(unittest.TestCase):
    def test_the_options_set_the_limits(self) -> None:
        conf = configured(Path("/x"), image_tool_cpu_seconds=7, image_tool_memory_mib=256)
        wanted = tools.ToolLimits(cpu_seconds=7, memory_bytes=256 * MIB)
        self.assertEqual(wanted, tools.limits(conf))

    def test_output_has_the_c_locale_and_arguments_meet_no_shell(self) -> None:
        self.assertEqual(
            "$HOME; C\n", tools.run(["sh", "-c", 'echo "$0 $LC_ALL"', "$HOME;"], LIMITS)
        )

    def test_the_standard_input_is_empty(self) -> None:
        self.assertEqual("", tools.run(["cat"], LIMITS, timeout=10))

    def test_the_limits_hold(self) -> None:
        shown = tools.run(["sh", "-c", "ulimit -v; ulimit -S -t; ulimit -c"], LIMITS)
        self.assertEqual([str(GIB // 1024), "60", "0"], shown.split())

    def test_programs_outside_an_ordinary_path_are_found(self) -> None:
        with mock.patch.dict(os.environ, {"PATH": "/usr/bin:/bin"}):
            self.assertIn("mkswap", tools.run(["mkswap", "--version"], LIMITS))

    def test_a_missing_program_is_named_with_its_package(self) -> None:
        with (
            mock.patch("shutil.which", return_value=None),
            self.assertRaisesRegex(exceptions.MissingDependency, "prlimit.*util-linux"),
        ):
            tools.run(["qemu-img"], LIMITS)
        with self.assertRaisesRegex(exceptions.MissingDependency, "no-such-program"):
            tools.run(["no-such-program"], LIMITS)

    def test_the_error_has_program_status_and_reason(self) -> None:
        wanted = "sh exited with status 3: the reason"
        with self.assertRaisesRegex(exceptions.ToolFailed, wanted) as caught:
            tools.run(["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"], LIMITS)
        self.assertNotIsInstance(caught.exception, tools.LimitPassed)

    def test_the_error_of_a_program_that_dies_silently(self) -> None:
        with self.assertRaisesRegex(exceptions.ToolFailed, "signal 9: it gave no reason"):
            tools.run(["sh", "-c", "kill -9 $$"], LIMITS)

    def test_a_program_that_takes_too_long_is_killed(self) -> None:
        with self.assertRaisesRegex(tools.LimitPassed, r"longer than 0\.2 seconds"):
            tools.run(["sleep", "60"], LIMITS, timeout=0.2)

    def test_processor_time_is_bounded(self) -> None:
        tight = tools.ToolLimits(cpu_seconds=1, memory_bytes=GIB)
        with self.assertRaisesRegex(tools.LimitPassed, "image_tool_cpu_seconds"):
            tools.run(["sh", "-c", "exec sh -c 'while :; do :; done'"], tight, timeout=60)

    def test_memory_is_bounded(self) -> None:
        tight = tools.ToolLimits(cpu_seconds=60, memory_bytes=8 * MIB)
        with self.assertRaisesRegex(tools.LimitPassed, "image_tool_memory_mib"):
            tools.run(["qemu-img", "--version"], tight)

    def test_a_full_disk_has_its_own_error(self) -> None:
        with self.assertRaises(exceptions.NotEnoughSpace):
            tools.run(["sh", "-c", "cat /proc/version > /dev/full"], LIMITS)
