# SPDX-License-Identifier: Apache-2.0
"""Directories that QEMU can pass, and typed errors for impossible directories."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.system import concurrency
from compute_driver.system.filesystem import PASSABLE, make_directory


class MakeDirectoryTest(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.home.chmod(0o750)
        self.target = self.home / "state" / "instances" / "one"

    def modes(self, *names: str) -> list[int]:
        return [stat.S_IMODE((self.home / name).stat().st_mode) for name in names]

    def test_the_umask_does_not_matter(self) -> None:
        self.addCleanup(os.umask, os.umask(0o077))
        make_directory(self.target, 0o700)
        make_directory(self.home / "wide", 0o755)
        modes = self.modes("", "state", "state/instances", "state/instances/one", "wide")
        self.assertEqual([0o750, PASSABLE, PASSABLE, 0o700, 0o755], modes)

    def test_a_lock_leaves_a_state_directory_that_qemu_can_pass(self) -> None:
        self.addCleanup(os.umask, os.umask(0o077))
        with concurrency.lock(self.home / "state" / "locks" / "one"):
            self.assertEqual([PASSABLE, 0o700], self.modes("state", "state/locks"))

    def test_an_existing_directory_stays_as_it_is(self) -> None:
        self.target.mkdir(mode=0o750, parents=True)
        (self.target / "file").touch()
        make_directory(self.target, 0o700)
        self.assertEqual([0o750], self.modes("state/instances/one"))
        self.assertTrue((self.target / "file").exists())

    def test_the_error_names_a_file_or_a_dangling_link_in_the_way(self) -> None:
        (self.home / "state").touch()
        (self.home / "link").symlink_to("nowhere")
        for path in (self.target, self.home / "state", self.home / "link", self.home / "link/one"):
            with self.subTest(path), self.assertRaisesRegex(exceptions.HostError, str(path)):
                make_directory(path, 0o700)

    def test_a_full_file_system_is_a_typed_error(self) -> None:
        full = mock.patch("pathlib.Path.mkdir", side_effect=OSError(errno.ENOSPC, "full"))
        with full, self.assertRaisesRegex(exceptions.NotEnoughSpace, "cannot be made: full"):
            make_directory(self.target, 0o700)
