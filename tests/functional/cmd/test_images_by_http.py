# SPDX-License-Identifier: Apache-2.0
"""The command line with images from a web server."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.functional import base
from tests.functional.cmd.base import CommandLineTestCase
from tests.functional.command import (
    ended,
    eventually,
)
from tests.image_server import ImageServer


class ImagesByHttp(CommandLineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = ImageServer(Path(base.disk_image().location).read_bytes())
        self.addCleanup(self.server.close)
        self.words = ("spawn", self.name, "--image", self.server.url, "--memory", "192")

    def test_interrupted_fetch_leaves_no_guest_and_is_continued(self) -> None:
        self.server.gate.clear()
        spawning = self.start(*self.words)
        self.server.wait_for(1, "GET")
        parts = self.line.state / "images" / "tmp"
        eventually(lambda: any(path.stat().st_size for path in parts.glob("*.part")))
        os.killpg(spawning.pid, signal.SIGINT)
        outcome = ended(spawning)
        self.assertEqual(
            (130, "", "compute-driver: interrupted\n"), (outcome.status, outcome.out, outcome.err)
        )
        self.assertEqual([], self.line.done("list", "-f", "json").json)
        for place in ("instances", "locks", "images/locks"):
            self.assertEqual([], base.entries(self.line.state / place))
        # The bytes that came are kept for the next attempt, and the audit can remove them.
        kinds = [row["Kind"] for row in json.loads(self.line.run("audit", "-f", "json").raw)]
        self.assertEqual({"partial image"}, set(kinds))
        self.server.gate.set()
        self.line.done(*self.words)
        self.line.done("destroy", self.name)
        self.assertIsNotNone(self.server.gets()[-1].range)
        self.line.done("audit")

    def test_progress_is_shown_on_a_terminal(self) -> None:
        terminal = self.terminal()
        self.server.gate.clear()
        spawning = self.start(*self.words, stderr=terminal.slave)
        terminal.expect(b"fetching disk.img")
        self.server.gate.set()
        self.addCleanup(self.line.done, "destroy", self.name)
        outcome = ended(spawning)
        self.assertEqual(0, outcome.status)
        self.assertIn(self.name, outcome.out)

    def test_progress_is_not_shown_in_a_pipe(self) -> None:
        outcome = self.line.done(*self.words)  # with nothing on stderr
        self.line.done("destroy", self.name)
        self.assertNotIn("fetching", outcome.out)

    def test_missing_image(self) -> None:
        self.server.statuses = [404, 404]
        self.assertIn("the server answered 404", self.line.refused(1, *self.words))
        self.assertEqual([], self.line.done("list", "-f", "json").json)
