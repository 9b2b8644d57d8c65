# SPDX-License-Identifier: Apache-2.0
"""Reading the console's log while virtlogd rotates it or somebody removes it."""

from __future__ import annotations

import errno
import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt import events
from compute_driver.libvirt.consoles import log as console


class ConsoleLogTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.log = Path(directory.name, "console.log")
        self.watch = events.Watch()
        self.addCleanup(self.watch.close)

    def wait_for(self, log: Path) -> bool:
        return console.wait_for_text(log, "b", self.watch, time.monotonic(), 0)

    def test_the_oldest_part_is_read_first(self) -> None:
        for name, content in (("", b"cc"), (".0", b"b"), (".1", b"a"), (".old", b"x")):
            Path(f"{self.log}{name}").write_bytes(content)
        self.assertEqual(b"abcc", console.read_log(self.log))
        self.assertEqual(b"bcc", console.read_log(self.log, 3))
        self.assertEqual(b"", console.read_log(self.log, 0))

    def test_a_part_that_is_renamed_meanwhile(self) -> None:
        self.log.write_bytes(b"a")
        listed = [Path(f"{self.log}.0"), self.log]
        with mock.patch.object(console, "log_files", return_value=listed):
            self.assertEqual(b"a", console.read_log(self.log))

    def test_a_log_that_cannot_be_read(self) -> None:
        self.log.mkdir()
        for call in (console.read_log, self.wait_for):
            with (
                self.subTest(call),
                self.assertRaisesRegex(exceptions.HostError, f"{self.log} .*: Is a directory"),
            ):
                call(self.log)

    def test_a_guest_that_is_destroyed_meanwhile(self) -> None:
        log = self.log.parent / "guest" / "console.log"
        self.assertEqual(b"", console.read_log(log))
        with self.assertRaisesRegex(exceptions.GuestNotFound, "'guest'"):
            self.wait_for(log)

    def test_a_host_without_free_inotify_watches(self) -> None:
        for number in (errno.EMFILE, errno.ENOSPC):
            error = OSError(number, os.strerror(number))
            with (
                self.subTest(error),
                mock.patch.object(console.inotify_simple, "INotify", side_effect=error),
                self.assertRaisesRegex(exceptions.HostError, "see sysctl fs.inotify") as caught,
            ):
                self.wait_for(self.log)
            self.assertIs(exceptions.HostError, type(caught.exception))
