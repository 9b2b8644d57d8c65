# SPDX-License-Identifier: Apache-2.0
"""Progress is shown on terminals only."""

from __future__ import annotations

import io
import unittest
from unittest import mock

from compute_driver.cmd import progress
from compute_driver.driver import no_progress


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Shown(unittest.TestCase):
    def test_bar_on_a_terminal(self) -> None:
        screen = Screen()
        with (
            mock.patch.dict("os.environ", {"TERM": "xterm", "COLUMNS": "100"}),
            mock.patch("sys.stderr", screen),
            progress.shown() as report,
        ):
            report("[red]/images/x[/odd]", 1024**2, 0)
            report("[red]/images/x[/odd]", 2 * 1024**2, 4 * 1024**2)
        self.assertIn("[red]/images/x[/odd]", screen.getvalue())
        self.assertIn("2.0/4.0 MiB", screen.getvalue())

    def test_nothing_elsewhere(self) -> None:
        for screen, wanted in ((Screen(), False), (io.StringIO(), True)):
            with mock.patch("sys.stderr", screen), progress.shown(wanted) as report:
                self.assertIs(no_progress, report)
