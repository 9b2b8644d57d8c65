# SPDX-License-Identifier: Apache-2.0
"""The results of programs, and programs that do not end or do not start."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.system import programs


class RunTest(unittest.TestCase):
    def test_status_output_and_errors(self) -> None:
        script = 'read line; echo "$line $word"; echo no >&2; exit 3'
        ended = programs.run(["/bin/sh", "-c", script], text="a\n", environment={"word": "b"})
        self.assertEqual(programs.Ended(status=3, output="a b\n", errors="no\n"), ended)
        self.assertEqual(-9, programs.run(["/bin/sh", "-c", "kill -9 $$"]).status)

    def test_a_debug_log_tells_what_ran_and_how_it_ended_and_no_input(self) -> None:
        with self.assertLogs(programs.LOG, "DEBUG") as logged:
            programs.run(["/bin/sh", "-c", "exit 3"], text="secret", environment={"key": "secret"})
        begun, ended = logged.output
        self.assertIn("Program: /bin/sh -c 'exit 3'", begun)
        self.assertRegex(ended, r"Program sh: exit status 3 after [\d.]+ s")
        self.assertNotIn("secret", begun + ended)

    def test_a_program_that_does_not_end(self) -> None:
        with self.assertRaisesRegex(programs.TookTooLong, r"sleep was killed: .*0\.1 seconds"):
            programs.run(["/bin/sleep", "60"], timeout=0.1)

    def test_a_program_that_does_not_start(self) -> None:
        with self.assertRaisesRegex(
            exceptions.ToolFailed, "x does not start: No such file"
        ) as seen:
            programs.run(["/nonexistent/x"])
        self.assertNotIsInstance(seen.exception, programs.TookTooLong)

    def test_a_program_that_does_not_read_all_of_its_input(self) -> None:
        self.assertEqual(0, programs.run(["/bin/true"], text="a\n" * 100_000, timeout=30).status)
