# SPDX-License-Identifier: Apache-2.0
"""Steps are undone in the opposite order, whatever fails."""

from __future__ import annotations

import logging
import unittest

from compute_driver.operations.base.undo import Undo


class UndoTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.undone: list[str] = []

    def refuse(self) -> None:
        raise OSError("cannot")

    def test_nothing_is_undone_after_commit(self) -> None:
        with Undo() as undo:
            undo.add("a", self.undone.append, "a")
            undo.commit()
        self.assertEqual([], self.undone)

    def test_last_step_first(self) -> None:
        with self.assertRaises(ZeroDivisionError), Undo() as undo:
            undo.add("a", self.undone.append, "a")
            undo.add("b", self.undone.append, "b")
            raise ZeroDivisionError
        self.assertEqual(["b", "a"], self.undone)

    def test_an_undo_that_fails_hides_nothing(self) -> None:
        with (
            self.assertLogs("compute_driver.operations.base.undo", logging.ERROR) as logged,
            self.assertRaises(ZeroDivisionError),
            Undo() as undo,
        ):
            undo.add("a", self.undone.append, "a")
            undo.add("the domain", self.refuse)
            raise ZeroDivisionError
        self.assertEqual(["a"], self.undone)
        self.assertIn("the domain", logged.output[0])
