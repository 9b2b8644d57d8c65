# SPDX-License-Identifier: Apache-2.0
"""Exchanges of files, and of disks elsewhere, that can be interrupted at any rename."""

from __future__ import annotations

import shutil
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from compute_driver.storage import exchange, layout
from compute_driver.storage.home import Home
from tests import pool
from tests.unit.base import configuration

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"
OLD = {"root.qcow2": "old root", "swap.raw": "old swap", "kernel": "kernel"}
NEW = {"root.qcow2": "new root", "ephemeral0.raw": "new ephemeral", "kernel": "kernel"}
NOTES = {layout.DESCRIPTION: "<domain/>", exchange.POWERED_ON: ""}
LOG = {"console.log": "said", "console.log.0": "said before"}

#: Disks in a pool: the exchange of the old ones for the new ones.
OLD_DISKS = {f"{UUID}_root": "old root", f"{UUID}_swap": "old swap"}
NEW_DISKS = {f"{UUID}_root": "new root", f"{UUID}_ephemeral0": "new ephemeral"}
OTHERS = {"e0c7b1a2-7d3c-4a52-9d53-0d5d6f3c7a10_root": "of another guest"}


class Death(BaseException):
    """The end of the process, at a call of a function."""


def write(directory: Path, contents: dict[str, str]) -> None:
    directory.mkdir(exist_ok=True)
    for name, text in contents.items():
        (directory / name).write_text(text)


def read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


def waiting(disks: dict[str, str], place: str) -> dict[str, str]:
    return {f"{image}.{place}": text for image, text in disks.items()}


class ExchangeTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name) / UUID
        self.home = Home(configuration(), self.directory)
        self.pool = Path(scratch.name) / "pool"
        pool.use(self, self.pool)
        self.begin()

    def begin(self) -> None:
        write(self.directory, OLD | LOG)
        write(self.pool, OLD_DISKS | OTHERS)

    def settle(self) -> None:
        exchange.forward(self.home)
        exchange.backward(self.home)

    def make(self) -> None:
        write(self.directory / exchange.MAKING, NEW | NOTES)
        write(self.pool, waiting(NEW_DISKS, exchange.MAKING))

    def resize(self) -> None:
        self.make()
        exchange.commit(self.directory)

    def revert(self) -> None:
        self.resize()
        self.settle()
        exchange.undo(self.directory)

    def confirm(self) -> None:
        self.resize()
        self.settle()
        exchange.drop(self.directory)

    def assert_disks(self, expected: dict[str, str]) -> None:
        self.assertEqual(expected | OTHERS, read(self.pool))

    def directories(self) -> list[str]:
        return [path.name for path in self.directory.iterdir() if path.is_dir()]

    def test_new_files_take_the_place_of_the_old_ones(self) -> None:
        self.resize()
        self.settle()
        self.assertEqual(NEW | LOG, read(self.directory))
        self.assertEqual([exchange.KEPT], self.directories())
        self.assertEqual(OLD | NOTES, read(self.directory / exchange.KEPT))
        self.assert_disks(NEW_DISKS | waiting(OLD_DISKS, exchange.KEPT))

    def test_old_files_come_back(self) -> None:
        self.revert()
        self.settle()
        self.assertEqual(OLD | LOG, read(self.directory))
        self.assert_disks(OLD_DISKS)
        self.assertEqual([], self.directories())

    def test_old_files_are_dropped(self) -> None:
        self.confirm()
        self.settle()
        self.assertEqual(NEW | LOG, read(self.directory))
        self.assert_disks(NEW_DISKS)
        self.assertEqual([], self.directories())

    def test_incomplete_new_files_are_removed(self) -> None:
        self.make()
        self.settle()
        self.assertEqual(OLD | LOG, read(self.directory))
        self.assert_disks(OLD_DISKS)
        self.assertEqual([], self.directories())

    def test_next_exchange_outlives_old_files_that_could_not_be_dropped(self) -> None:
        self.confirm()
        self.resize()
        self.settle()
        self.assertEqual([exchange.KEPT], self.directories())
        self.assert_disks(NEW_DISKS | waiting(NEW_DISKS, exchange.KEPT))

    def test_an_exchange_survives_a_death_at_any_step(self) -> None:
        kept = waiting(OLD_DISKS, exchange.KEPT)
        for prepare, expected, elsewhere in (
            (self.make, OLD | LOG, OLD_DISKS),
            (self.resize, NEW | LOG, NEW_DISKS | kept),
            (self.revert, OLD | LOG, OLD_DISKS),
            (self.confirm, NEW | LOG, NEW_DISKS),
        ):
            steps = 0
            while self.dies(prepare, steps):
                with self.subTest(prepare.__name__, steps=steps):
                    self.settle()
                    self.assertEqual(expected, read(self.directory))
                    self.assert_disks(elsewhere)
                steps += 1
            self.assertGreater(steps, 1)

    def dies(self, prepare: Callable[[], None], steps: int) -> bool:
        """Settle the prepared exchange until a death after so many steps; tell whether it died."""
        shutil.rmtree(self.directory)
        shutil.rmtree(self.pool)
        self.begin()
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
