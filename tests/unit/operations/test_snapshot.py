# SPDX-License-Identifier: Apache-2.0
"""Targets of snapshots."""

from __future__ import annotations

import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.operations import snapshot
from compute_driver.operations.base.context import Parts


class TargetTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.home = Path(place.name)
        self.parts = mock.create_autospec(Parts, instance=True)
        self.parts.ownership = mock.Mock(instances=self.home / "instances")

    def test_each_refusal_has_its_own_reason(self) -> None:
        directory = self.home / "instances" / str(uuid.uuid4())
        directory.mkdir(parents=True)
        (self.home / "taken").touch()
        for target, accepted in {
            self.home / "taken": "a new file; this file exists",
            self.home / "absent" / "x": "a file in a directory that exists",
            directory / "x": "a file outside of the guests' directories",
        }.items():
            with self.assertRaises(exceptions.InvalidParameter) as caught:
                snapshot.check_target(self.parts, target)
            self.assertEqual(accepted, caught.exception.accepted)
        new = self.home / "new"
        self.assertEqual(new, snapshot.check_target(self.parts, new))
