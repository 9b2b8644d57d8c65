# SPDX-License-Identifier: Apache-2.0
"""Runs the command line inside the test's process, on guests of the in-memory driver."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from oslo_config import cfg

from compute_driver import conf
from compute_driver.cmd import main
from compute_driver.driver import ComputeDriver
from compute_driver.drivers import fake
from compute_driver.guest import Guest
from tests.outcome import Outcome
from tests.unit import base


class CommandLineCase(unittest.TestCase):
    """Commands of one test share one driver; the machine's configuration has no effect."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(conf, "SYSTEM_DIRECTORY", self.directory / "etc"))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_HYPERVISOR__")}
        self.enterContext(mock.patch.dict(os.environ, clean, clear=True))
        self.driver = fake.FakeDriver(base.configuration(state_path=str(self.directory)))
        self.enterContext(
            mock.patch("compute_driver.drivers.loading.load_driver", self.load_driver)
        )

    def load_driver(self, configuration: cfg.ConfigOpts) -> ComputeDriver:
        return self.driver

    def enterContext(self, manager: Any) -> Any:  # noqa: N802 - unittest has it from 3.11 on
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    def run_command(self, *words: str) -> Outcome:
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main.main(list(words))
        return Outcome(status, out.buffer.getvalue(), err.buffer.getvalue().decode())

    def done(self, *words: str) -> Outcome:
        """Run a command that must succeed and write nothing to stderr."""
        outcome = self.run_command(*words)
        self.assertEqual((0, ""), (outcome.status, outcome.err), words)
        return outcome

    def refused(self, status: int, *words: str) -> str:
        """Run a command that must fail with one line on stderr; return the line."""
        outcome = self.run_command(*words)
        self.assertEqual((status, ""), (outcome.status, outcome.out), (words, outcome.err))
        self.assertRegex(outcome.err, r"\Acompute-driver: [^\n]+\n\Z")
        self.assertNotIn("Traceback", outcome.err)
        return outcome.err.removeprefix("compute-driver: ").rstrip("\n")

    def spawned(self, name: str = "web", **changes: Any) -> Guest:
        return self.driver.spawn(base.describe(name=name, **changes)).guest

    def file(self, name: str, content: bytes | str) -> str:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
