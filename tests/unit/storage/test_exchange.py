# SPDX-License-Identifier: Apache-2.0
"""Exchanges of files that can be interrupted at any rename."""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from compute_driver.storage import exchange, layout

OLD = {"root.qcow2": "old root", "swap.raw": "old swap", "kernel": "kernel"}
NEW = {"root.qcow2": "new root", "ephemeral0.raw": "new ephemeral", "kernel": "kernel"}
NOTES = {layout.DESCRIPTION: "<domain/>", exchange.POWERED_ON: ""}
LOG = {"console.log": "said", "console.log.0": "said before"}


class Death(BaseException):
    """The end of the process, at a call of a function."""


def write(directory: Path, contents: dict[str, str]) -> None:
    directory.mkdir(exist_ok=True)
    for name, text in contents.items():
        (directory / name).write_text(text)


def read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


class ExchangeTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name) / "guest"
        write(self.directory, OLD | LOG)

    def settle(self) -> None:
        exchange.forward(self.directory)
        exchange.backward(self.directory)
        exchange.clear(self.directory)

    def resize(self) -> None:
        write(self.directory / exchange.MAKING, NEW | NOTES)
        exchange.commit(self.directory)

    def revert(self) -> None:
        self.resize()
        self.settle()
        exchange.undo(self.directory)

    def directories(self) -> list[str]:
        return [path.name for path in self.directory.iterdir() if path.is_dir()]

    def test_new_files_take_the_place_of_the_old_ones(self) -> None:
        self.resize()
        self.settle()
        self.assertEqual(NEW | LOG, read(self.directory))
        self.assertEqual([exchange.KEPT], self.directories())
        self.assertEqual(OLD | NOTES, read(self.directory / exchange.KEPT))

    def test_old_files_come_back(self) -> None:
        self.revert()
        self.settle()
        self.assertEqual(OLD | LOG, read(self.directory))
        self.assertEqual([], self.directories())

    def test_old_files_are_dropped(self) -> None:
        self.resize()
        self.settle()
        exchange.drop(self.directory)
        self.settle()
        self.assertEqual(NEW | LOG, read(self.directory))
        self.assertEqual([], self.directories())

    def test_what_was_not_completed_is_removed(self) -> None:
        write(self.directory / exchange.MAKING, NEW)
        self.settle()
        self.assertEqual(OLD | LOG, read(self.directory))
        self.assertEqual([], self.directories())

    def test_death_at_any_step_is_made_up_for(self) -> None:
        for prepare, expected in ((self.resize, NEW | LOG), (self.revert, OLD | LOG)):
            steps = 0
            while self.dies(prepare, steps):
                with self.subTest(prepare.__name__, steps=steps):
                    self.settle()
                    self.assertEqual(expected, read(self.directory))
                steps += 1
            self.assertGreater(steps, 5)

    def dies(self, prepare: Callable[[], None], steps: int) -> bool:
        """Settle what was prepared, until death after so many steps; tell whether it came."""
        for path in (*self.directory.rglob("*/*"), *self.directory.glob("*")):
            path.unlink() if path.is_file() else path.rmdir()
        write(self.directory, OLD | LOG)
        prepare()
        left = steps

        def mortal(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                if not left:
                    raise Death
                left -= 1
                return real(*arguments, **options)

            return call

        patches = [
            mock.patch.object(Path, name, mortal(getattr(Path, name)))
            for name in ("rename", "unlink", "rmdir", "mkdir")
        ]
        try:
            for patch in patches:
                patch.start()
            self.settle()
        except Death:
            return True
        finally:
            for patch in patches:
                patch.stop()
        return False
