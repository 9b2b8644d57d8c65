# SPDX-License-Identifier: Apache-2.0
"""A nova in another environment finds the driver."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
import venv
from pathlib import Path

from compute_driver import exceptions
from compute_driver.nova import finder, link

_FIND = f"import importlib.util; print(importlib.util.find_spec('{finder.SHIM}'))"


class LinkTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        venv.create(home.name, symlinks=True)
        self.python = str(Path(home.name, "bin", "python"))
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = Path(home.name, "lib", version, "site-packages")

    def install_nova(self, version: str) -> None:
        """Make the files of an installed nova."""
        about = self.packages / f"nova-{version}.dist-info" / "METADATA"
        for file in (
            about,
            self.packages / "nova/__init__.py",
            self.packages / "nova/virt/__init__.py",
        ):
            file.parent.mkdir()
            file.touch()
        about.write_text(f"Metadata-Version: 2.1\nName: nova\nVersion: {version}\n")

    def found(self) -> str:
        done = subprocess.run(
            [self.python, "-c", _FIND], capture_output=True, text=True, check=True
        )
        self.assertEqual("", done.stderr)
        return done.stdout.strip()

    def test_linked_nova_finds_the_shim_until_it_is_unlinked(self) -> None:
        self.install_nova("34.0.0")
        self.assertEqual("None", self.found())
        for _ in range(2):
            file = link.link(self.python)
            self.assertEqual(self.packages, file.parent)
            self.assertIn("nova/virt/compute_driver/__init__.py", self.found())
        self.assertEqual(file, link.unlink(self.python))
        self.assertEqual("None", self.found())
        self.assertIsNone(link.unlink(self.python))

    def test_installed_shim_wins(self) -> None:
        self.install_nova("34.0.0")
        installed = self.packages / "nova/virt/compute_driver/__init__.py"
        installed.parent.mkdir()
        installed.touch()
        link.link(self.python)
        self.assertIn(str(installed), self.found())

    def test_environment_without_a_nova_that_is_served_is_refused(self) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, "no nova.*nova 32 to 34"):
            link.link(self.python)
        self.install_nova("31.2.0")
        with self.assertRaisesRegex(exceptions.InvalidParameter, r"nova 31\.2\.0.*nova 32 to 34"):
            link.link(self.python)
        self.assertEqual([], list(self.packages.glob("*.pth")))

    def test_what_is_no_interpreter_is_refused(self) -> None:
        with self.assertRaises(exceptions.InvalidParameter):
            link.link("/bin/true")
        with self.assertRaises(exceptions.ToolFailed):
            link.link("/nowhere/python")
