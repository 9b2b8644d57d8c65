# SPDX-License-Identifier: Apache-2.0
"""The backing files of overlays."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import GIB
from compute_driver.storage import disks, overlay
from compute_driver.storage.source import FileSource
from compute_driver.system.tools import ToolLimits

#: The number of the header extension that states the format of the backing file.
FORMAT = bytes.fromhex("e2792aca")


class OverlayTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)

    def made(self, name: str, *base: str) -> Path:
        path = self.home / name
        backing = ["-F", "raw", "-b", *base] if base else []
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(path), "1M"], check=True
        )
        return path

    def unstated(self, path: Path) -> Path:
        """Remove the format of the backing file from the header of an overlay."""
        content = path.read_bytes()
        self.assertIn(FORMAT, content)
        path.write_bytes(content.replace(FORMAT, bytes(len(FORMAT))))
        return path

    def test_the_backing_file_of_an_overlay(self) -> None:
        raw = self.home / "größe"
        raw.write_bytes(b"")
        for said in (str(raw), raw.name):
            self.assertEqual(raw, overlay.base(self.made(f"of {len(said)}", said)))

    def test_files_without_a_backing_file(self) -> None:
        self.assertIsNone(overlay.base(self.made("alone")))
        for content in (b"", b"QFI", os.urandom(4096), bytes(4096)):
            path = self.home / "other"
            path.write_bytes(content)
            self.assertIsNone(overlay.base(path))
        with self.assertRaises(FileNotFoundError):
            overlay.base(self.home / "nowhere")

    def test_chain(self) -> None:
        raw = self.home / "raw"
        raw.write_bytes(b"QFI\xfb")  # a guest may write anything
        names = ("one", "two", "three")
        for version in ("0.10", "1.1"):
            before, expected, written = raw, [raw], "raw"
            for name in names:
                path = self.home / f"{name}-{version}"
                argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={version}"]
                argv += ["-F", written, "-b", str(before), str(path), "1M"]
                subprocess.run(argv, check=True)
                self.assertEqual(expected, overlay.chain(path))
                before, expected, written = path, [path, *expected], "qcow2"
            raw.rename(self.home / "hidden")
            self.assertEqual(expected[1:], overlay.chain(before))
            (self.home / f"one-{version}").unlink()
            self.assertEqual(expected[1:3], overlay.chain(before))
            (self.home / "hidden").rename(raw)

    def test_chain_ends_at_what_is_no_file_of_a_stated_format(self) -> None:
        argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw"]
        for backing in ("nbd://localhost/x", 'json:{"driver":"null-co"}'):
            subprocess.run([*argv, "-b", backing, str(self.home / "disk"), "1M"], check=True)
            self.assertEqual([], overlay.chain(self.home / "disk"))

    def test_a_backing_file_whose_format_no_header_states(self) -> None:
        raw = self.home / "raw"
        raw.write_bytes(b"QFI\xfb")
        stated = self.made("stated", str(raw))
        self.assertIsNone(overlay.unstated(stated))
        self.assertEqual(str(raw), overlay.unstated(self.unstated(stated)))

    def test_no_tool_guesses_the_format_of_a_backing_file(self) -> None:
        raw, secret = self.home / "raw", self.home / "secret"
        secret.write_bytes(b"s" * 1024)
        self.made(raw.name, str(secret))  # a guest has written an overlay into its raw disk
        disk = self.unstated(self.made("disk", str(raw)))
        source = FileSource(path=disk, format=DiskFormat.QCOW2)
        target = FileSource(path=self.home / "copy", format=DiskFormat.RAW)
        with self.assertRaisesRegex(exceptions.DiskUnusable, str(raw)):
            disks.flatten(source, target, ToolLimits(cpu_seconds=60, memory_bytes=GIB))
        self.assertFalse(target.path.exists())

    def test_the_backing_files_of_all_overlays_below_a_directory(self) -> None:
        unreadable: dict[Path, exceptions.HostError] = {}
        (self.home / "kept" / "older").mkdir(parents=True)
        wanted = {self.made(name, "/dev/null") for name in ("a.qcow2", "kept/older/b.qcow2")}
        self.made("alone.qcow2")
        for path in (self.home, self.home / "alone.qcow2", self.home / "gone"):
            expected = wanted if path == self.home else set()
            self.assertEqual(
                {(each, Path("/dev/null")) for each in expected},
                set(overlay.bases(path, unreadable)),
            )
        self.assertEqual({}, unreadable)

    def test_unreadable_files_and_directories_are_reported(self) -> None:
        secret, damaged = self.home / "secret", self.home / "damaged.qcow2"
        secret.mkdir()
        damaged.symlink_to(damaged)  # nobody can open this file
        made = self.made("a.qcow2", "/dev/null")
        scandir = os.scandir

        def as_another_user(path: str) -> Iterator[os.DirEntry[str]]:
            if Path(path) == secret:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        unreadable: dict[Path, exceptions.HostError] = {}
        with mock.patch.object(os, "scandir", as_another_user):
            found = list(overlay.bases(self.home, unreadable))
        self.assertEqual([(made, Path("/dev/null"))], found)
        self.assertEqual({secret, damaged}, unreadable.keys())
        self.assertIn("Permission denied", str(unreadable[secret]))
