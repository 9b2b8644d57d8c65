# SPDX-License-Identifier: Apache-2.0
"""Sets of the host's processors."""

from __future__ import annotations

import unittest

from compute_driver.hardware import cpu_set


class CpuSetTest(unittest.TestCase):
    def test_text_is_read_and_written_in_its_shortest_form(self) -> None:
        for text, shortest in (
            ("4-12,^8,15", "4-7,9-12,15"),
            ("3", "3"),
            (" 2 , 0-1,, ", "0-2"),
            ("0-9,^2-7,2", "0-1,8-9"),
        ):
            with self.subTest(text):
                self.assertEqual(shortest, cpu_set.shown(cpu_set.parse(text)))

    def test_text_that_names_no_processors_is_refused(self) -> None:
        for text in ("", "a", "3-1", "^1", "1,^1", "-1", "70000", "1-2-3"):
            with self.subTest(text), self.assertRaisesRegex(ValueError, "4-12"):
                cpu_set.parse(text)
