# SPDX-License-Identifier: Apache-2.0
"""Files appear complete and private, or not at all."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
import unittest
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import GIB
from compute_driver.system import files, tools


class FilesCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.target = self.home / "root.raw"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.home.iterdir())


class LengthenTest(FilesCase):
    def test_the_largest_file_of_a_file_system_is_named(self) -> None:
        self.target.write_bytes(b"x")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * GIB + 512, limits[1]))
        files.lengthen(self.target, 3 * GIB, "swap")
        self.assertEqual(3 * GIB, self.target.stat().st_size)
        with self.assertRaises(exceptions.NotOnThisHost) as caught:
            files.lengthen(self.target, 4 * GIB, "swap")
        self.assertEqual("swap", caught.exception.field)
        accepted = f"at most 3.00 GiB ({3 * GIB + 512} bytes), the largest file of the file system"
        self.assertIn(accepted, str(caught.exception))
        self.assertEqual([self.target.name], self.names())
        self.assertEqual(3 * GIB, self.target.stat().st_size)


class NewFileTest(FilesCase):
    def test_a_new_file_is_complete_and_private(self) -> None:
        with files.new_file(self.target) as path:
            path.write_bytes(b"new")
            self.assertFalse(self.target.exists())
        self.assertEqual(self.target.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        self.assertEqual(self.names(), ["root.raw"])

    def test_a_name_of_the_greatest_length(self) -> None:
        target = self.home / ("\U0001f427" * 63 + "raw")
        with files.new_file(target) as path:
            path.write_bytes(b"new")
        self.assertEqual(target.read_bytes(), b"new")

    def test_without_replace_an_existing_file_stays(self) -> None:
        self.target.write_bytes(b"old")
        with self.assertRaises(files.Taken), files.new_file(self.target, replace=False) as path:
            path.write_bytes(b"new")
        self.assertEqual(self.target.read_bytes(), b"old")
        self.assertEqual(self.names(), ["root.raw"])

    def test_a_move_needs_no_hard_links(self) -> None:
        other = self.home / "other"
        for error in (None, OSError(errno.EPERM, "no"), OSError(errno.EOPNOTSUPP, "no")):
            link = mock.patch.object(os, "link", side_effect=error) if error else nullcontext()
            with self.subTest(error), link:
                self.target.write_bytes(b"new")
                files.move(self.target, other)
                self.assertEqual(other.read_bytes(), b"new")
                self.target.write_bytes(b"newer")
                with self.assertRaises(files.Taken):
                    files.move(self.target, other)
                self.assertEqual(other.read_bytes(), b"new")
                other.unlink()

    def test_after_a_failure_the_old_file_stays(self) -> None:
        self.target.write_bytes(b"old")
        with self.assertRaises(KeyboardInterrupt), files.new_file(self.target) as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        self.assertEqual(self.target.read_bytes(), b"old")
        self.assertEqual(self.names(), ["root.raw"])

    def test_errors_of_the_operating_system_are_typed(self) -> None:
        cases = (
            (errno.ENOSPC, exceptions.NotEnoughSpace),
            (errno.EDQUOT, exceptions.NotEnoughSpace),
            (errno.EIO, exceptions.HostError),
        )
        for number, expected in cases:
            with self.subTest(number):
                with self.assertRaises(expected) as caught, files.new_file(self.target):
                    raise OSError(number, "said the kernel")
                self.assertIn(str(self.target), str(caught.exception))
                self.assertEqual(self.names(), [])

    def test_a_missing_directory_is_a_typed_error(self) -> None:
        with self.assertRaises(exceptions.HostError), files.new_file(self.home / "no" / "file"):
            self.fail("there is nothing to fill")


class PlaceTest(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.home / "image"
        self.source.write_bytes(b"bytes")

    def test_a_placed_file_shares_the_bytes(self) -> None:
        files.place(self.source, self.target)
        self.assertTrue(self.target.samefile(self.source))

    def test_a_file_is_copied_if_no_link_is_possible(self) -> None:
        for number in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
            with self.subTest(errno.errorcode[number]):
                with mock.patch("os.link", side_effect=OSError(number, "no")):
                    files.place(self.source, self.target)
                self.assertFalse(self.target.samefile(self.source))
                self.assertEqual(self.target.read_bytes(), b"bytes")
                self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
                self.target.unlink()

    def test_an_existing_file_is_never_replaced(self) -> None:
        self.target.write_bytes(b"old")
        with self.assertRaises(exceptions.HostError):
            files.place(self.source, self.target)
        self.assertEqual(self.target.read_bytes(), b"old")


class CloneTest(FilesCase):
    def test_a_copy_that_hangs_is_killed(self) -> None:
        source = self.home / "image"
        os.mkfifo(source)
        limits = tools.ToolLimits(cpu_seconds=10, memory_bytes=GIB)
        with (
            mock.patch.object(files, "COPY_SECONDS", 0.2),
            self.assertRaisesRegex(exceptions.ToolFailed, "took longer"),
        ):
            files.clone(source, self.target, limits)
        self.assertEqual(["image"], self.names())
