# SPDX-License-Identifier: Apache-2.0
"""Where the disks of one guest are, of every kind."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import ConfigDrive, Disk, Guest
from compute_driver.hardware import drives
from compute_driver.storage import config_drive, disks, exchange, layout
from compute_driver.storage.home import Home
from compute_driver.storage.source import FileSource
from compute_driver.system import tools
from tests import pool
from tests.unit.base import configuration, describe

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"
OTHER = "e0c7b1a2-7d3c-4a52-9d53-0d5d6f3c7a10"
MIB = 1024**2


class HomeTestCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name, UUID)
        self.pool = Path(scratch.name, "pool")
        for path in (self.directory, self.pool):
            path.mkdir()

    def home(self, **options: object) -> Home:
        return Home(configuration(**options), self.directory)


class TestFiles(HomeTestCase):
    def test_format_is_the_configured_one_before_the_disk_is_made(self) -> None:
        for configured in (DiskFormat.QCOW2, DiskFormat.RAW):
            found = self.home(disk_format=configured).locate("root")
            self.assertEqual(configured, found.format)

    def test_format_stays_when_the_option_changes(self) -> None:
        for made, configured in (
            (DiskFormat.RAW, DiskFormat.QCOW2),
            (DiskFormat.QCOW2, DiskFormat.RAW),
        ):
            path = self.directory / f"root.{made}"
            path.touch()
            expected = FileSource(path=path, format=made)
            self.assertEqual(expected, self.home(disk_format=configured).locate("root"))
            path.unlink()

    def test_iso_is_raw(self) -> None:
        found = self.home().locate("installer", DiskFormat.ISO)
        path = self.directory / "installer.iso"
        self.assertEqual(FileSource(path=path, format=DiskFormat.RAW), found)


class TestPool(HomeTestCase):
    def setUp(self) -> None:
        super().setUp()
        pool.use(self, self.pool)
        self.guest = describe(
            uuid=UUID,
            root=Disk(size_bytes=MIB),
            ephemerals=(Disk(size_bytes=4 * MIB),),
            config_drive=ConfigDrive(hostname="a"),
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.pool.iterdir())

    def plan(self, guest: Guest) -> layout.Layout:
        home = self.home()
        return layout.plan(guest, home.directory, drives.resolve(guest), home.locate, uefi=False)

    def make(self) -> None:
        assert self.guest.config_drive is not None
        for disk in self.plan(self.guest).disks:
            if disk.role is layout.Role.CONFIG_DRIVE:
                config_drive.build(self.guest.config_drive, self.guest, disk.source)
            else:
                disks.make(disk, None, tools.limits(configuration()))

    def test_no_disk_is_in_the_directory(self) -> None:
        self.make()
        expected = [f"{UUID}_{name}" for name in ("config-drive", "ephemeral0", "root")]
        self.assertEqual(expected, self.names())
        self.assertEqual([], list(self.directory.iterdir()))

    def test_disk_made_as_a_file_stays_a_file(self) -> None:
        (self.directory / "root.raw").touch()
        root, ephemeral, _drive = self.plan(self.guest).disks
        self.assertIsInstance(root.source, FileSource)
        self.assertIsInstance(ephemeral.source, pool.PoolSource)

    def test_disks_of_a_guest_that_nobody_knows_are_removed(self) -> None:
        self.make()
        for name in (f"{UUID}_root.{exchange.KEPT}", f"{OTHER}_root"):
            (self.pool / name).touch()
        self.home().remove()
        self.assertEqual([f"{OTHER}_root"], self.names())

    def test_only_the_disks_of_one_place_are_found(self) -> None:
        self.make()
        kept = self.pool / f"{UUID}_root.{exchange.KEPT}"
        kept.touch()
        found = self.home().outside(self.directory / exchange.KEPT)
        self.assertEqual([str(kept)], [source.address for source in found])
        self.assertEqual(3, len(self.home().outside(self.directory)))

    def test_bases_of_disks_that_are_used_or_wait(self) -> None:
        base = self.pool / "base"
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", base, "1M"], check=True)
        names = ("root", f"root.{exchange.KEPT}", f"root.{exchange.MAKING}")
        paths = {self.pool / f"{UUID}_{name}" for name in names}
        for path in paths:
            backing = ["-F", "raw", "-b", base]
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, path], check=True)
        damaged = self.pool / f"{UUID}_swap"
        damaged.symlink_to(damaged)  # cannot be opened, whoever tries
        unreadable: dict[Path, exceptions.HostError] = {}
        found = set(self.home().bases(unreadable))
        self.assertEqual({(path, base) for path in paths}, found)
        self.assertEqual({damaged}, unreadable.keys())

    def test_room_is_looked_for_where_the_copies_go(self) -> None:
        self.make()
        usage = shutil.disk_usage(self.pool)

        def full(path: Path) -> object:
            return usage._replace(free=0) if path == self.pool else usage

        sources = [disk.source for disk in self.plan(self.guest).disks]
        self.home().require_room(sources)
        with (
            mock.patch.object(shutil, "disk_usage", full),
            self.assertRaises(exceptions.NotEnoughSpace),
        ):
            self.home().require_room(sources)
