# SPDX-License-Identifier: Apache-2.0
"""An interpreter is found wherever this process got its own from."""

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

    def test_this_process_is_one(self) -> None:
        self.assertEqual(sys.executable, interpreter.find_python())

    def test_python_is_part_of_another_program(self) -> None:
        for executable in ("/usr/bin/uwsgi", "", None):
            with self.subTest(executable), mock.patch.object(sys, "executable", executable):
                self.runs(interpreter.find_python())

    def test_no_interpreter_is_beside_it_either(self) -> None:
        with (
            mock.patch.object(sys, "executable", "/usr/bin/uwsgi"),
            mock.patch.object(sys, "exec_prefix", "/nonexistent"),
            mock.patch.dict(os.environ, {"PATH": os.path.dirname(sys.executable)}),
        ):
            self.runs(interpreter.find_python())
