# SPDX-License-Identifier: Apache-2.0
"""The file with the owner of a directory of guests."""

from __future__ import annotations

import stat
import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.storage import owner
from compute_driver.system import files

OWNER = str(uuid.uuid4())


class OwnerFileTest(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.instances = Path(holder.name)
        self.file = self.instances / owner.FILE

    def test_made_once_and_read_by_all_users(self) -> None:
        self.assertIsNone(owner.read(self.instances))
        made = owner.make(self.instances)
        self.assertEqual(made, owner.read(self.instances))
        self.assertEqual(0o644, stat.S_IMODE(self.file.stat().st_mode))
        self.assertEqual([self.file], list(self.instances.iterdir()))

    def test_owner_that_another_process_has_made_meanwhile_counts(self) -> None:
        first = owner.make(self.instances)
        self.assertEqual(first, owner.make(self.instances))
        self.assertEqual(first, owner.make(self.instances, OWNER))

    def test_lost_owner_is_made_again(self) -> None:
        self.assertEqual(OWNER, owner.make(self.instances, OWNER))
        self.assertEqual(OWNER, owner.read(self.instances))

    def test_file_without_an_owner_is_named_and_left(self) -> None:
        for content in (b"", b"\xff", b"no owner\n"):
            self.file.write_bytes(content)
            self.assertIsNone(owner.read(self.instances))
            with self.assertRaisesRegex(exceptions.HostError, f"{self.file}.*remove the file"):
                owner.make(self.instances)
            self.assertEqual(content, self.file.read_bytes())

    def test_storage_that_is_away_has_no_owner(self) -> None:
        for path in (self.instances / "gone", Path("/dev/null/guests")):
            self.assertIsNone(owner.read(path))
            with self.assertRaises(exceptions.HostError):
                owner.make(path)

    def test_failure_leaves_no_file(self) -> None:
        with (
            mock.patch.object(files, "move", side_effect=OSError(28, "full")),
            self.assertRaises(exceptions.NotEnoughSpace),
        ):
            owner.make(self.instances)
        self.assertEqual([], list(self.instances.iterdir()))
