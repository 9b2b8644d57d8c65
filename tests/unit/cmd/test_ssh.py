# SPDX-License-Identifier: Apache-2.0
"""``ssh`` finds the way to a guest, and the keys that the guest tells."""

from __future__ import annotations

import stat
import unittest
from pathlib import Path

from compute_driver.cmd import keys
from tests.unit.cmd.base import CommandLineCase

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6c"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI"
BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"


class HostKeys(unittest.TestCase):
    def test_last_complete_list_on_a_console_counts(self) -> None:
        first = f"{BEGIN}\r\n{OTHER} root@old\r\n{keys.KEYS_END}\r\n"
        second = f"login: {BEGIN}\r\n{KEY} root@a\r\n{OTHER}\r\n{keys.KEYS_END}\r\n"
        begun = f"{BEGIN}\r\n{OTHER} root@new\r\n"
        for console, expected in (
            ("", ()),
            (begun, ()),
            (first, (OTHER,)),
            (first + second, (KEY, OTHER)),
            (first + second + begun, (KEY, OTHER)),
            (f"{BEGIN}\r\n-oProxyCommand=x\r\n{keys.KEYS_END}", ()),
        ):
            with self.subTest(console):
                self.assertEqual(expected, keys.host_keys(console.encode()))


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
        self.done("spawn", "a", "--disk", "1", "--publish", "2222:22", "-f", "json")
        self.done("spawn", "b", "--disk", "1", "--publish", "2223:80", "-f", "json")
        self.done("spawn", "c", "--disk", "1", "--meta", "a=b", "-f", "json")
        given = {info.guest.name: info.guest.config_drive for info in self.driver.list()}
        own = Path(f"{keys.own_key(self.directory)}.pub").read_text().strip()
        assert given["a"] is not None
        assert given["c"] is not None
        self.assertEqual([own], [*given["a"].public_keys.values()])
        self.assertEqual([own], [*given["c"].public_keys.values()])
        self.assertIsNone(given["b"])


class Refusals(CommandLineCase):
    def test_guest_that_cannot_be_reached_is_refused_with_the_remedy(self) -> None:
        self.done("spawn", "a", "--disk", "1", "-f", "json")
        outcome = self.run_command("ssh", "a")
        self.assertEqual(1, outcome.status)
        self.assertIn("'compute-driver publish a 2222:22'", outcome.err)
        self.assertEqual(1, self.run_command("ssh", "nobody").status)
