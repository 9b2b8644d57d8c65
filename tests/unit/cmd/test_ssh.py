# SPDX-License-Identifier: Apache-2.0
"""``ssh`` finds the way to a guest, with the driver's own key."""

from __future__ import annotations

import stat
import time
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.cmd import errors, keys, ssh
from tests.keys import public_key
from tests.ports import free_port
from tests.unit import base
from tests.unit.cmd.base import CommandLineCase


class OwnKey(CommandLineCase):
    def test_first_use_makes_a_private_key_and_later_uses_find_it(self) -> None:
        made = keys.own_key(self.directory / "state")
        content = made.read_bytes()
        self.assertEqual(made, keys.own_key(self.directory / "state"))
        self.assertEqual(content, made.read_bytes())
        self.assertEqual(0o600, stat.S_IMODE(made.stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(made.parent.stat().st_mode))
        self.assertEqual(["ssh"], [path.name for path in (self.directory / "state").iterdir()])

    def test_guest_with_a_config_drive_gets_the_key_unless_another_is_named(self) -> None:
        named = self.file("id.pub", public_key())
        self.done("spawn", "a", "--image", self.file("disk", b"bytes"), "-f", "json")
        self.done("spawn", "b", "--disk", "1", "--key", named, "-f", "json")
        self.done("spawn", "c", "--disk", "1", "--meta", "a=b", "-f", "json")
        given = {info.guest.name: info.guest.config_drive for info in self.driver.list()}
        own = keys.own_public_key(self.directory)
        for name, key in (("a", own), ("b", Path(named).read_text()), ("c", own)):
            self.assertEqual([key], [*given[name].public_keys.values()], name)

    def test_guest_is_made_without_a_key_that_cannot_be_read(self) -> None:
        public = keys.own_key(self.directory).with_suffix(".pub")
        for content in ("", "noise"):
            public.write_text(content)
            with self.assertRaisesRegex(exceptions.HostError, "ssh-keygen -y"):
                keys.own_public_key(self.directory)
        public.unlink()
        public.mkdir()
        with self.assertRaisesRegex(exceptions.HostError, f"{public} cannot be read"):
            keys.own_public_key(self.directory)
        public.rmdir()
        outcome = self.run_command("spawn", "a", "--disk", "1", "--config-drive", "-f", "json")
        self.assertEqual(0, outcome.status)
        self.assertIn(f"gets no SSH key: {public} has no public SSH key", outcome.err)

    def test_guest_that_does_not_know_the_key_is_told_with_the_remedy(self) -> None:
        named = self.file("id.pub", public_key())
        for name, option in (("plain", "--no-config-drive"), ("own", "--config-drive")):
            with self.subTest(name):
                self.done("spawn", name, "--disk", "1", "--publish", f"{free_port()}:22", option)
                words = ("ssh", name, "--timeout", "0")
                told = f"Guest {name} has no config drive: a guest knows"
                self.assertEqual(name == "plain", told in self.run_command(*words).err)
                self.assertNotIn(told, self.run_command(*words, "--identity", named).err)


class Waiting(unittest.TestCase):
    def test_person_at_a_terminal_is_told_once(self) -> None:
        for is_terminal in (True, False):
            app = mock.Mock()
            app.stderr.isatty.return_value = is_terminal
            app.driver.console_log.return_value = b""
            app.driver.ssh_host_keys.side_effect = [[], [], ["ssh-ed25519 AAAA"]]
            command = ssh.Ssh(app, None, "ssh")
            command._wait_for_keys(base.describe(name="web"), time.monotonic() + 60)
            self.assertEqual(int(is_terminal), app.stderr.write.call_count)


class Refusals(CommandLineCase):
    def test_bad_words(self) -> None:
        self.done("spawn", "a", "--disk", "1", "-f", "json")
        for words, text in (
            (("--identity", "/nonexistent/x"), "identity: '/nonexistent/x' is not usable"),
            (("--user", ""), "--user: '' is not usable"),
        ):
            self.assertIn(text, self.refused(2, "ssh", "a", *words))

    def test_remedy_names_a_port_that_no_other_guest_has(self) -> None:
        self.done("spawn", "a", "--disk", "1", "--publish", "2222:22", "-f", "json")
        self.done("spawn", "b", "--disk", "1", "-f", "json")
        self.assertIn("'compute-driver publish b 2223:22'", self.run_command("ssh", "b").err)

    def test_guest_that_cannot_be_reached_is_refused_with_the_remedy(self) -> None:
        self.done("spawn", "a", "--disk", "1", "-f", "json")
        outcome = self.run_command("ssh", "a")
        self.assertEqual(1, outcome.status)
        self.assertIn("'compute-driver publish a 2222:22'", outcome.err)
        self.assertFalse((self.directory / "ssh").exists())
        self.assertEqual(1, self.run_command("ssh", "nobody").status)
        self.done("publish", "a", "2222:22/udp")
        self.assertIn("'compute-driver publish a 2222:22'", self.run_command("ssh", "a").err)

    def test_published_port_and_static_address_exclude_each_other(self) -> None:
        text = self.refused(
            *(2, "spawn", "a", "--disk", "1", "--publish", "2222:22"),
            *("--nic", "user,address=10.9.9.9/24"),
        )
        self.assertIn("--publish: '127.0.0.1:2222:22/tcp' is not usable", text)

    def test_options_stand_on_both_sides_of_the_guest(self) -> None:
        parser = ssh.Ssh(mock.Mock(), None, "ssh").get_parser("compute-driver ssh")
        for words, user, command in (
            (("web", "--user", "debian"), "debian", []),
            (("--user", "debian", "web", "uptime", "now"), "debian", ["uptime", "now"]),
            (("web", "--user", "debian", "--", "ls", "-l"), "debian", ["ls", "-l"]),
        ):
            with self.subTest(words):
                parsed = parser.parse_args(words)
                self.assertEqual(("web", user), (parsed.guest, parsed.user))
                self.assertEqual(command, parsed.command)
        with self.assertRaises(errors.UsageError):
            parser.parse_args(["web", "-oProxyCommand=x"])
        with self.assertRaisesRegex(errors.UsageError, "are required: GUEST; see"):
            parser.parse_args([])
