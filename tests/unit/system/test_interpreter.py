# SPDX-License-Identifier: Apache-2.0
"""The driver finds an interpreter, whatever program runs this process."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from unittest import mock

from compute_driver.system import interpreter


class FindTest(unittest.TestCase):
    def runs(self, path: str) -> None:
        command = [path, "-I", "-S", "-c", "print('it runs')"]
        self.assertEqual("it runs\n", subprocess.check_output(command, text=True, timeout=30))

    def test_the_interpreter_of_this_process(self) -> None:
        self.assertEqual(sys.executable, interpreter.find_python())

    def test_another_program_embeds_python(self) -> None:
        for executable in ("/usr/bin/uwsgi", "", None):
            with self.subTest(executable), mock.patch.object(sys, "executable", executable):
                self.runs(interpreter.find_python())

    def test_the_prefix_has_no_interpreter(self) -> None:
        with (
            mock.patch.object(sys, "executable", "/usr/bin/uwsgi"),
            mock.patch.object(sys, "exec_prefix", "/nonexistent"),
            mock.patch.dict(os.environ, {"PATH": os.path.dirname(sys.executable)}),
        ):
            self.runs(interpreter.find_python())
