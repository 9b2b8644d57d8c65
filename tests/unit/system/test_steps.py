# SPDX-License-Identifier: Apache-2.0
"""Steps are announced to listeners, as long as they listen."""

from __future__ import annotations

import unittest

from compute_driver.system import steps


class StepsTest(unittest.TestCase):
    def test_a_listener_hears_the_steps_of_its_context(self) -> None:
        heard: list[str] = []
        steps.announce("before")
        with steps.announced_to(heard.append):
            steps.announce("meanwhile")
        steps.announce("after")
        self.assertEqual(["meanwhile"], heard)

    def test_a_context_that_fails_hears_no_later_step(self) -> None:
        heard: list[str] = []
        with self.assertRaises(ZeroDivisionError), steps.announced_to(heard.append):
            raise ZeroDivisionError
        steps.announce("after")
        self.assertEqual([], heard)
