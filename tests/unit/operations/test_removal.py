# SPDX-License-Identifier: Apache-2.0
"""The removal of a guest's directory while somebody still writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.operations.base import removal


class RemoveTreeTest(unittest.TestCase):
    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.instances = Path(home.name)
        self.directory = self.instances / "guest"
        self.directory.mkdir()
        (self.directory / "console.log").touch()

    def left(self) -> list[str]:
        return os.listdir(self.instances)

    def test_a_file_that_comes_late_does_not_prevent_the_removal(self) -> None:
        rmdir = os.rmdir

        def write_before(*args: object, **kwargs: object) -> None:
            with contextlib.suppress(FileNotFoundError):
                (self.directory / "console.log").touch()
            rmdir(*args, **kwargs)  # type: ignore[arg-type]

        with mock.patch.object(os, "rmdir", side_effect=write_before):
            removal._remove_tree(self.directory)
        self.assertEqual([], self.left())

    def test_the_next_removal_ends_one_that_failed(self) -> None:
        refusal = mock.patch.object(shutil, "rmtree", side_effect=PermissionError("no"))
        with refusal, self.assertRaises(exceptions.HostError):
            removal._remove_tree(self.directory)
        removal._remove_tree(self.directory)
        self.assertEqual([], self.left())

    def test_a_directory_that_is_gone_is_no_failure(self) -> None:
        for _twice in range(2):
            removal._remove_tree(self.directory)
        self.assertEqual([], self.left())

    def test_a_removal_that_died_between_its_steps_is_ended(self) -> None:
        self.directory.rename(self.directory.with_name("guest.removed"))
        self.directory.mkdir()
        removal._remove_tree(self.directory)
        self.assertEqual([], self.left())
