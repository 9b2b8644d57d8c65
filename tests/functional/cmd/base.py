# SPDX-License-Identifier: Apache-2.0
"""The command line on the host of the test's process."""

from __future__ import annotations

import subprocess
import unittest
import uuid

from tests.functional.command import (
    CommandLine,
    Terminal,
)


class CommandLineTestCase(unittest.TestCase):
    """A test that makes and destroys its own guests on the host of this process."""

    line: CommandLine

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.line = CommandLine.of_root()
        cls.addClassCleanup(cls.line.nothing_is_left)

    def setUp(self) -> None:
        super().setUp()
        self.name = f"guest-{uuid.uuid4().hex[:8]}"

    def terminal(self) -> Terminal:
        terminal = Terminal()
        self.addCleanup(terminal.close)
        return terminal

    def start(self, *words: str, **streams: int) -> subprocess.Popen[bytes]:
        """Start a command; the end of the test kills the command."""
        process = self.line.start(*words, **streams)
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process
