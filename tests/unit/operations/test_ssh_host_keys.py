# SPDX-License-Identifier: Apache-2.0
"""The keys that a guest writes to its console are learnt as they are."""

from __future__ import annotations

import unittest

from compute_driver.consoles import HOST_KEYS_BEGIN, HOST_KEYS_END
from compute_driver.operations.ssh_host_keys import on_console

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6c"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI"


class ConsoleTest(unittest.TestCase):
    def test_keys_of_complete_lists_count_the_newest_first(self) -> None:
        first = f"{HOST_KEYS_BEGIN}\r\n{OTHER} root@old\r\n{HOST_KEYS_END}\r\n"
        second = f"login: {HOST_KEYS_BEGIN}\r\n{KEY} root@a\r\n{OTHER}\r\n{HOST_KEYS_END}\r\n"
        begun = f"{HOST_KEYS_BEGIN}\r\n{OTHER} root@new\r\n"
        for console, expected in (
            ("", []),
            (begun, []),
            (first, [OTHER]),
            (second + first, [OTHER, KEY, OTHER]),
            (first + second + begun, [KEY, OTHER, OTHER]),
            (f"{HOST_KEYS_BEGIN}\r\n-oProxyCommand=x\r\n{HOST_KEYS_END}", []),
        ):
            with self.subTest(console):
                self.assertEqual(expected, on_console(console.encode()))
