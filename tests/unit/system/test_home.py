# SPDX-License-Identifier: Apache-2.0
"""The user's directories with any values of the environment variables."""

from __future__ import annotations

import os
import pwd
import unittest
from pathlib import Path
from unittest import mock

from compute_driver.system import home


class HomeTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.dict(os.environ)
        patch.start()
        self.addCleanup(patch.stop)
        self.entry = Path(pwd.getpwuid(os.geteuid()).pw_dir)

    def test_home_is_absolute(self) -> None:
        for value, expected in {"/h": Path("/h"), "home": self.entry, "": self.entry}.items():
            os.environ["HOME"] = value
            self.assertEqual(expected, home.find_home(), value)
        del os.environ["HOME"]
        self.assertEqual(self.entry, home.find_home())

    def test_user_without_an_entry_has_no_home(self) -> None:
        with mock.patch("pwd.getpwuid", side_effect=KeyError):
            for value in ("", "home"):
                os.environ["HOME"] = value
                self.assertIsNone(home.find_home())
                self.assertIsNone(home.find_base("XDG_DATA_HOME", ".local/share"))

    def test_relative_base_directory_is_ignored(self) -> None:
        os.environ["HOME"] = "/h"
        for value, expected in {"/d": "/d", "d": "/h/.local/share", "": "/h/.local/share"}.items():
            os.environ["XDG_DATA_HOME"] = value
            self.assertEqual(Path(expected), home.find_base("XDG_DATA_HOME", ".local/share"))
