# SPDX-License-Identifier: Apache-2.0
"""The processors that a host has for guests."""

from __future__ import annotations

import os
import unittest

from compute_driver import exceptions
from compute_driver.hardware import cpu_set
from compute_driver.host import facts


class CpuCountTest(unittest.TestCase):
    def test_all_processors_by_default(self) -> None:
        self.assertEqual(os.cpu_count(), facts.count_cpus(None))

    def test_chosen_processors(self) -> None:
        self.assertEqual(1, facts.count_cpus("0"))

    def test_processor_that_is_not_online(self) -> None:
        last = cpu_set.MAX_CPU
        with self.assertRaisesRegex(exceptions.ConfigurationError, f"guest_cpus.* {last} .*0"):
            facts.count_cpus(f"0,{last}")
