# SPDX-License-Identifier: Apache-2.0
"""A short name is a link of this user's, or nothing at all."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt.embedded import short_names


class ShortNameTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.name = Path(directory.name, "name")
        self.base = Path(directory.name, "base")
        self.base.mkdir()

    def test_the_name_leads_to_the_directory_and_may_be_made_twice(self) -> None:
        short_names.make(self.name, self.base)
        short_names.make(self.name, self.base)
        self.assertTrue(self.name.samefile(self.base))

    def test_a_name_that_leads_elsewhere_is_refused(self) -> None:
        self.name.symlink_to("/nonexistent")
        with self.assertRaisesRegex(exceptions.LibvirtUnavailable, "remove it"):
            short_names.make(self.name, self.base)

    def test_a_name_taken_by_a_directory_is_refused(self) -> None:
        self.name.mkdir()
        with self.assertRaisesRegex(exceptions.LibvirtUnavailable, "remove it"):
            short_names.make(self.name, self.base)

    def test_a_name_made_by_another_user_is_refused(self) -> None:
        self.name.symlink_to(self.base)
        with (
            mock.patch("os.geteuid", return_value=os.geteuid() + 1),
            self.assertRaises(exceptions.LibvirtUnavailable),
        ):
            short_names.make(self.name, self.base)

    def test_a_name_is_ours_only_as_our_own_link_to_the_directory(self) -> None:
        self.assertFalse(short_names.leads_to(self.name, self.base))
        self.name.symlink_to(self.base)
        self.assertTrue(short_names.leads_to(self.name, self.base))
        self.assertFalse(short_names.leads_to(self.name, self.base / "other"))
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.assertFalse(short_names.leads_to(self.name, self.base))
