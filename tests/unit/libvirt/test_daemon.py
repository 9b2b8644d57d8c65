# SPDX-License-Identifier: Apache-2.0
"""What the embedded libvirt decides before it starts anything."""

from __future__ import annotations

import errno
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt import daemon
from compute_driver.libvirt.daemon import EmbeddedDaemon
from compute_driver.system import tools


class EmbeddedDaemonTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        found = mock.patch.object(daemon, "find_program", side_effect=lambda name: f"/{name}")
        found.start()
        self.addCleanup(found.stop)

    def as_user(self, uid: int) -> None:
        user = mock.patch("os.geteuid", return_value=uid)
        user.start()
        self.addCleanup(user.stop)

    def refused_state_path(self, path: Path) -> str:
        with self.assertRaises(exceptions.ConfigurationError) as caught:
            EmbeddedDaemon(path).ensure()
        self.assertIn("[hypervisor] state_path: '/", str(caught.exception))
        return str(caught.exception)

    def test_root_gets_a_system_daemon_and_odd_paths_are_quoted(self) -> None:
        self.as_user(0)
        uri = EmbeddedDaemon(Path("/s p/ü&?")).uri
        expected = "qemu+unix:///system?socket=/s%20p/%C3%BC%26%3F/libvirt/run/libvirt/libvirt-sock"
        self.assertEqual(expected, uri)

    def test_a_user_gets_a_session_daemon_under_a_short_name(self) -> None:
        self.as_user(4242)
        embedded = EmbeddedDaemon(Path("/long" * 40))
        self.assertTrue(embedded.uri.startswith("qemu+unix:///session?socket=/tmp/cd-"))
        self.assertLess(len(str(embedded.socket_path)), 50)
        self.assertEqual(embedded.uri, EmbeddedDaemon(Path("/long" * 40)).uri)
        self.assertNotEqual(embedded.uri, EmbeddedDaemon(Path("/other")).uri)

    def test_a_path_too_long_for_sockets_is_refused_with_the_maximum(self) -> None:
        self.as_user(0)
        self.assertIn("at most 73 bytes", self.refused_state_path(Path("/" + "x" * 73)))

    def test_a_path_that_cannot_be_made_is_refused_with_the_cause(self) -> None:
        (self.directory / "file").touch()
        error = self.refused_state_path(self.directory / "file" / "state")
        self.assertIn("Not a directory", error)

    def test_a_full_file_system_is_told_as_such(self) -> None:
        full = OSError(errno.ENOSPC, "No space left on device")
        for function in ("pathlib.Path.mkdir", "pathlib.Path.write_text", "os.open"):
            with (
                self.subTest(function),
                mock.patch(function, side_effect=full),
                self.assertRaisesRegex(exceptions.NotEnoughSpace, "embedded libvirt in /.* cannot"),
            ):
                EmbeddedDaemon(self.directory / "state").ensure()

    def test_messages_have_the_paths_that_the_user_can_open(self) -> None:
        text = "'/var/run/libvirt/a', (/var/lib/libvirt/b) /srv/run/libvirt/c /run/libvirtd"
        with mock.patch("os.geteuid", return_value=0):
            embedded = EmbeddedDaemon(Path("/srv/st"))
        shown = "'/srv/st/libvirt/run/libvirt/a', (/srv/st/libvirt/lib/libvirt/b)"
        self.assertEqual(f"{shown} /srv/run/libvirt/c /run/libvirtd", embedded.visible(text))
        self.as_user(1000)
        self.assertEqual(text, EmbeddedDaemon(Path("/srv/st")).visible(text))

    def test_the_latest_error_of_a_log_is_quoted(self) -> None:
        head = "2026-11-29 08:48:44.041+0000: 22891: "
        bus = f"{head}error : virGDBusGetSystemBus:99 : internal error: no system bus connection\n"
        fault = f"{head}error : virPidFileAcquirePath:378 : Failed to open pid file\n"
        for log, expected in {
            f"{fault}{bus}{head}info : hostname: vm\n": "Failed to open pid file",
            "Traceback\nOSError: x\n": "OSError: x",
            "": "",
        }.items():
            self.assertEqual(expected, daemon.last_reason(log.encode()))

    def test_a_directory_of_another_user_is_refused(self) -> None:
        (self.directory / "libvirt").mkdir()
        self.as_user(1 if os.geteuid() != 1 else 2)
        self.assertIn("owns", self.refused_state_path(self.directory))

    def test_nothing_runs_before_the_first_ensure(self) -> None:
        embedded = EmbeddedDaemon(self.directory / "state")
        self.assertIsNone(embedded.pid)
        embedded.stop()
        self.assertFalse((self.directory / "state").exists())

    def test_the_configuration_is_in_libvirts_syntax(self) -> None:
        embedded = EmbeddedDaemon(self.directory / "state", console_log_max_bytes=4096)
        embedded._make_directories()
        embedded._write_configuration()
        written = self.directory / "state" / "libvirt" / "etc" / "libvirt"
        self.assertIn("namespaces = []\n", (written / "qemu.conf").read_text())
        self.assertIn('stdio_handler = "logd"\n', (written / "qemu.conf").read_text())
        self.assertIn("max_size = 4096\n", (written / "virtlogd.conf").read_text())

    def test_only_root_names_the_user_of_the_guests(self) -> None:
        self.assertEqual("root", daemon.configuration(True, 1)["qemu.conf"]["user"])
        self.assertNotIn("user", daemon.configuration(False, 1)["qemu.conf"])


class FindProgramTest(unittest.TestCase):
    def test_a_missing_daemon_names_its_package(self) -> None:
        with (
            mock.patch.object(tools, "SYSTEM_DIRECTORIES", ("/nonexistent",)),
            mock.patch.dict(os.environ, PATH="/nonexistent"),
            self.assertRaisesRegex(exceptions.MissingDependency, "libvirt-daemon-driver-qemu"),
        ):
            daemon.find_program("libvirtd")
