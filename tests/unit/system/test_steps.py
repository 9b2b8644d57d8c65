# SPDX-License-Identifier: Apache-2.0
"""Steps are announced to whoever listens, and to nobody else."""

from __future__ import annotations

import unittest

from compute_driver.system import steps


class StepsTest(unittest.TestCase):
    def test_listener_hears_the_steps_meanwhile(self) -> None:
        heard: list[str] = []
        steps.announce("before")
        with steps.announced_to(heard.append):
            steps.announce("meanwhile")
        steps.announce("after")
        self.assertEqual(["meanwhile"], heard)

    def test_listener_that_fails_hears_no_more(self) -> None:
        heard: list[str] = []
        with self.assertRaises(ZeroDivisionError), steps.announced_to(heard.append):
            raise ZeroDivisionError
        steps.announce("after")
        self.assertEqual([], heard)
