# SPDX-License-Identifier: Apache-2.0
"""What was interrupted is ended first, and never stands in the way of a removal."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.operations.base import journal
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency
from tests.unit import base

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"


class ExclusiveTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.state = Path(place.name)
        self.lock = self.state / "locks" / UUID
        self.interrupt("resize")

    def interrupt(self, operation: str) -> None:
        with concurrency.lock(self.lock) as held:
            held.note(operation)
            held.keep = True

    def parts(self) -> Any:
        parts = mock.create_autospec(Parts, instance=True)
        parts.conf = base.configuration(state_path=str(self.state))
        parts.images = mock.Mock(holding=contextlib.nullcontext)
        parts.directory.return_value = self.state / "instances" / UUID
        return parts

    def mending(self, error: Exception | None) -> Any:
        mend = mock.Mock(side_effect=error)
        return mock.patch.dict(journal._MENDED, {"resize": mend})

    def test_what_was_interrupted_is_ended_first(self) -> None:
        with self.mending(None), journal.exclusive(self.parts(), UUID, "start") as held:
            journal._MENDED["resize"].assert_called_once()  # type: ignore[attr-defined]
            self.assertFalse(held.keep)
        self.assertFalse(self.lock.exists())

    def test_guest_that_cannot_be_put_in_order_is_tried_again(self) -> None:
        error = exceptions.MetadataDamaged("damaged")
        with (
            self.mending(error),
            self.assertRaises(exceptions.MetadataDamaged),
            journal.exclusive(self.parts(), UUID, "start"),
        ):
            self.fail("it goes on")
        self.assertEqual("resize", self.lock.read_text())

    def test_guest_that_cannot_be_put_in_order_can_be_removed(self) -> None:
        for error in (exceptions.MetadataDamaged("damaged"), exceptions.GuestNotFound(UUID)):
            with (
                self.subTest(error),
                self.mending(error),
                self.assertLogs("compute_driver.operations.base.journal", logging.WARNING),
                journal.exclusive(self.parts(), UUID, "destroy"),
            ):
                self.assertEqual("destroy", self.lock.read_text())
            self.assertFalse(self.lock.exists())
            self.interrupt("resize")
