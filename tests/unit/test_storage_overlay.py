# SPDX-License-Identifier: Apache-2.0
"""Which file an overlay is based on."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from compute_driver.storage import overlay


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

    def test_base(self) -> None:
        raw = self.home / "größe"
        raw.write_bytes(b"")
        for said in (str(raw), raw.name):
            self.assertEqual(raw, overlay.base(self.made(f"of {len(said)}", said)))

    def test_none(self) -> None:
        self.assertIsNone(overlay.base(self.made("alone")))
        for content in (b"", b"QFI", os.urandom(4096), bytes(4096)):
            path = self.home / "other"
            path.write_bytes(content)
            self.assertIsNone(overlay.base(path))
        with self.assertRaises(FileNotFoundError):
            overlay.base(self.home / "nowhere")
