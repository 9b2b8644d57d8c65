# SPDX-License-Identifier: Apache-2.0
"""Verbs that copy from a guest or to a guest, and failures of any verb."""

from __future__ import annotations

import io
import json
import os
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskBus
from compute_driver.drivers import fake
from tests.unit.cmd.base import CommandLineCase


class Screenshot(CommandLineCase):
    def setUp(self) -> None:
        super().setUp()
        self.spawned()

    def test_file_is_written_whole(self) -> None:
        path = self.directory / "x.png"
        self.done("screenshot", "web", str(path))
        self.assertTrue(path.read_bytes().startswith(b"\x89PNG"))
        self.assertEqual([path], list(self.directory.iterdir()))

    def test_nothing_is_replaced(self) -> None:
        pipe, link, file = (self.directory / name for name in ("pipe", "link", "file"))
        os.mkfifo(pipe)
        link.symlink_to("nowhere")
        file.write_text("old")
        before = {path: path.lstat() for path in self.directory.iterdir()}
        for path in (*map(str, before), str(self.directory), ""):
            with self.subTest(path):
                text = self.refused(2, "screenshot", "web", path)
                self.assertIn(f"FILE: {path!r} is not usable; accepted: ", text)
        self.assertEqual(before, {path: path.lstat() for path in self.directory.iterdir()})

    def test_stdout(self) -> None:
        self.assertTrue(self.done("screenshot", "web", "-").raw.startswith(b"\x89PNG"))

    def test_unwritable_file(self) -> None:
        path = "/nonexistent/x.png"
        self.assertIn(f"{path} cannot be made", self.refused(1, "screenshot", "web", path))


class Copies(CommandLineCase):
    def test_snapshot_is_made_in_the_format_asked_for(self) -> None:
        self.spawned()
        path = self.directory / "web.raw"
        self.done("snapshot", "web", str(path), "--image-format", "vdi", "--quiesce", "never")
        self.assertEqual("vdi of web\n", path.read_text())
        other = path.with_suffix(".vmdk")
        self.done("snapshot", "web", str(other))
        self.assertEqual("vmdk of web\n", other.read_text())
        self.assertIn("accepted: a new file", self.refused(2, "snapshot", "web", str(path)))

    def test_snapshot_with_a_suffix_of_another_format_is_refused(self) -> None:
        self.spawned()
        for name in ("web.vhd", "web.iso", "web.qcow2.gz", "web.1"):
            path = self.directory / name
            with self.subTest(name):
                text = self.refused(2, "snapshot", "web", str(path))
                self.assertIn("accepted: a name that ends in .img, .qcow2, .raw, .vdi,", text)
                self.assertIn("--image-format", text)
                self.assertFalse(path.exists())
                self.done("snapshot", "web", str(path), "--image-format", "qcow2")
        plain = self.directory / "web"
        self.done("snapshot", "web", str(plain))
        self.assertEqual("qcow2 of web\n", plain.read_text())

    def test_snapshot_that_requires_an_agent(self) -> None:
        self.spawned("mute", guest_agent=False)
        path = self.directory / "mute.raw"
        text = self.refused(1, "snapshot", "mute", str(path), "--quiesce", "REQUIRE")
        self.assertIn("no channel for an agent", text)
        self.assertFalse(path.exists())
        self.done("snapshot", "mute", str(path), "--quiesce", "try")


class Rescue(CommandLineCase):
    def test_another_system_is_booted_and_shown(self) -> None:
        self.spawned()
        words = ("--last", "--disk-bus", "scsi", "--no-cdrom", "--kernel", __file__)
        self.done("rescue", "web", "--image", __file__, *words)
        rescue = self.driver.show(self.driver.find("web")).guest.rescue
        assert rescue is not None
        self.assertEqual(
            (__file__, True, DiskBus.SCSI, False),
            (rescue.image.location, rescue.last, rescue.bus, rescue.cdrom),
        )
        assert rescue.boot is not None
        self.assertEqual(
            __file__, self.done("show", "web", "-c", "rescue", "-f", "value").out.strip()
        )
        self.done("unrescue", "web")
        self.assertIn(
            "it is in its own system; accepted: in rescue", self.refused(1, "unrescue", "web")
        )

    def test_what_cannot_be_is_refused(self) -> None:
        self.spawned()
        self.assertIn("--image", self.refused(2, "rescue", "web"))
        words = ("rescue", "web", "--image", __file__)
        self.assertIn("scsi", self.refused(2, *words, "--disk-bus", "mca"))
        self.assertIn("--kernel", self.refused(2, *words, "--cmdline", "quiet"))
        for flag in ("--cdrom", "--no-cdrom"):
            text = self.refused(2, *words, "--floppy", flag)
            self.assertEqual(f"{flag} is not usable with --floppy", text)


class Password(CommandLineCase):
    def test_password_comes_on_stdin_and_is_not_shown(self) -> None:
        self.spawned()
        with mock.patch("sys.stdin", io.StringIO("geheim\n")):
            outcome = self.done("set", "password", "web", "--user", "admin")
        self.assertEqual(b"", outcome.raw)
        self.assertIn(b"password of admin set", self.done("console", "log", "web").raw)
        with mock.patch("sys.stdin", io.StringIO("")):
            self.assertIn("password is missing", self.refused(2, "set", "password", "web"))

    def test_password_that_no_agent_takes_is_refused_and_not_shown(self) -> None:
        self.spawned()
        for given in (b"a\0bc\n", b"a\xffbc\n"):
            for errors in ("strict", "surrogateescape"):
                stdin = io.TextIOWrapper(io.BytesIO(given), "utf-8", errors)
                with self.subTest(given, errors=errors), mock.patch("sys.stdin", stdin):
                    text = self.refused(2, "set", "password", "web")
                    self.assertIn("password: '***' is not usable; accepted: ", text)

    def test_account_that_no_agent_takes_is_refused(self) -> None:
        self.spawned()
        with mock.patch("sys.stdin", io.StringIO("geheim\n")):
            text = self.refused(2, "set", "password", "web", "--user", "a\0b")
        self.assertIn("--user: 'a\\x00b' is not usable; accepted: a name of Unicode text", text)

    def test_file_systems_are_frozen_and_thawed(self) -> None:
        self.spawned()
        self.done("quiesce", "web")
        self.done("unquiesce", "web")


class ConsoleLog(CommandLineCase):
    def test_bytes_are_printed_as_they_are(self) -> None:
        guest = self.spawned()
        session = self.driver.console_attach(guest.uuid)
        session.send(b"\xff\x00\r\n")
        log = self.done("console", "log", "web").raw
        self.assertIn(fake.BANNER.encode(), log)
        self.assertTrue(log.endswith(b"\xff\x00\r\n"))
        self.assertEqual(b"\x00\r\n", self.done("console", "log", "web", "--bytes", "3").raw)
        self.assertEqual(b"", self.done("console", "log", "web", "--bytes", "0").raw)


class Failures(CommandLineCase):
    def test_one_line_whatever_the_driver_raises(self) -> None:
        for error, status in (
            (exceptions.LibvirtUnavailable("no\nlibvirt"), 1),
            (exceptions.AccelerationUnavailable("no KVM"), 1),
            (exceptions.ConfigurationError("bad"), 2),
            (RuntimeError("a bug"), 1),
        ):
            with self.subTest(error), mock.patch.object(fake.FakeDriver, "list", side_effect=error):
                text = self.refused(status, "list")
                self.assertIn(" ".join(str(error).split()), text)

    def test_debug_shows_where(self) -> None:
        with mock.patch.object(fake.FakeDriver, "list", side_effect=RuntimeError("a bug")):
            outcome = self.run_command("list", "--debug")
        self.assertEqual(1, outcome.status)
        self.assertIn("Traceback", outcome.err)
        self.assertTrue(
            outcome.err.endswith(
                "compute-driver: unexpected RuntimeError: a bug (--debug shows where)\n"
            )
        )

    def test_interrupt(self) -> None:
        with mock.patch.object(fake.FakeDriver, "list", side_effect=KeyboardInterrupt):
            self.assertEqual("interrupted", self.refused(130, "list"))

    def test_driver_is_closed_in_every_case(self) -> None:
        for effect in (None, RuntimeError("x")):
            with (
                mock.patch.object(fake.FakeDriver, "close") as close,
                mock.patch.object(fake.FakeDriver, "list", side_effect=effect, return_value=()),
            ):
                self.run_command("list")
                close.assert_called_once_with()

    def test_json_is_all_of_stdout(self) -> None:
        self.assertEqual([], json.loads(self.done("list", "-f", "json").out))
