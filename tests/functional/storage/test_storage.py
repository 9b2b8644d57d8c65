# SPDX-License-Identifier: Apache-2.0
"""Disks and config drives of the real tools, read by other programs."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, FileSystem
from compute_driver.guest import GIB, MIB, ConfigDrive, Guest, Image, Interface
from compute_driver.guest.bounds import MIN_BYTES
from compute_driver.storage import config_drive, disks
from compute_driver.storage.layout import GuestDisk, Role
from compute_driver.storage.source import FileSource
from compute_driver.system import files, tools
from tests.functional.programs import described, output

LIMITS = tools.ToolLimits(cpu_seconds=60, memory_bytes=GIB)
PATTERN = bytes(range(256)) * 256


@dataclasses.dataclass(frozen=True)
class Base:
    """An image of the cache."""

    path: Path
    format: DiskFormat
    virtual_size: int


def drive_at(path: Path) -> FileSource:
    return FileSource(path=path, format=DiskFormat.RAW)


class StorageCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.cache = Path(holder.name, "cache")
        self.home = Path(holder.name, "home, of: a guest")
        self.cache.mkdir()
        self.home.mkdir()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.home.iterdir())

    def disk(
        self,
        role: Role,
        size_bytes: int,
        image_format: DiskFormat = DiskFormat.RAW,
        index: int | None = None,
    ) -> GuestDisk:
        return GuestDisk(
            role=role,
            index=index,
            source=FileSource(path=self.home / f"{role}.{image_format}", format=image_format),
            size_bytes=size_bytes,
            bus=DiskBus.VIRTIO,
        )

    def raw_base(self, data: bytes = PATTERN, size: int = 4 * MIB) -> Base:
        path = self.cache / "base, with a comma.raw"
        path.write_bytes(data)
        os.truncate(path, size)
        return Base(path, DiskFormat.RAW, size)

    def qcow2_base(self) -> Base:
        raw = self.raw_base()
        path = self.cache / "base.qcow2"
        output("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.path, path)
        return Base(path, DiskFormat.QCOW2, raw.virtual_size)

    def assert_private(self, path: Path) -> None:
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(self.names(), [path.name])


class RootDiskTest(StorageCase):
    def test_overlay_names_its_base_and_the_base_s_format(self) -> None:
        for base in (self.raw_base(), self.qcow2_base()):
            for asked, expected in ((0, 4 * MIB), (10 * GIB, 10 * GIB)):
                with self.subTest(base=str(base.format), size=asked):
                    disk = self.disk(Role.ROOT, asked, DiskFormat.QCOW2)
                    disks.make(disk, base, LIMITS)
                    found = described(disk.source.path, "qcow2")
                    self.assertEqual(found["virtual-size"], expected)
                    self.assertEqual(found["backing-filename"], str(base.path))
                    self.assertEqual(found["backing-filename-format"], str(base.format))
                    self.assert_private(disk.source.path)
                    self.assertLess(disk.source.path.stat().st_size, MIB)
                    self.assert_same_content(disk, base)

    def assert_same_content(self, disk: GuestDisk, base: Base) -> None:
        # qemu-img accepts and reports zeros at the end of the longer image.
        formats = ("-f", str(disk.source.format), "-F", str(base.format))
        report = output("qemu-img", "compare", *formats, disk.source.path, base.path)
        self.assertIn("Images are identical.", report)

    def test_raw_is_a_full_sparse_copy(self) -> None:
        for base in (self.raw_base(), self.qcow2_base()):
            for asked, expected in ((0, 4 * MIB), (10 * GIB, 10 * GIB)):
                with self.subTest(base=str(base.format), size=asked):
                    disk = self.disk(Role.ROOT, asked)
                    disks.make(disk, base, LIMITS)
                    status = disk.source.path.stat()
                    self.assertEqual(status.st_size, expected)
                    self.assertLess(status.st_blocks * 512, 2 * len(PATTERN))
                    with disk.source.path.open("rb") as stream:
                        self.assertEqual(stream.read(len(PATTERN)), PATTERN)
                    self.assert_private(disk.source.path)

    def test_empty(self) -> None:
        for image_format in (DiskFormat.QCOW2, DiskFormat.RAW):
            with self.subTest(str(image_format)):
                disk = self.disk(Role.ROOT, 5 * GIB, image_format)
                disks.make(disk, None, LIMITS)
                found = described(disk.source.path, str(image_format))
                self.assertEqual(found["virtual-size"], 5 * GIB)
                self.assertNotIn("backing-filename", found)
                self.assert_private(disk.source.path)
                disk.source.path.unlink()

    def test_is_empty_beside_an_installer(self) -> None:
        iso = Base(self.raw_base().path, DiskFormat.ISO, 4 * MIB)
        disk = self.disk(Role.ROOT, MIB)
        disks.make(disk, iso, LIMITS)
        self.assertEqual(disk.source.path.read_bytes(), bytes(MIB))

    def test_image_that_is_too_large(self) -> None:
        for image_format in (DiskFormat.QCOW2, DiskFormat.RAW):
            with self.subTest(str(image_format)), self.assertRaises(exceptions.ImageTooLarge):
                disks.make(self.disk(Role.ROOT, 2 * MIB, image_format), self.raw_base(), LIMITS)
            self.assertEqual(self.names(), [])

    def test_base_with_another_format_than_stated(self) -> None:
        liar = dataclasses.replace(self.raw_base(), format=DiskFormat.QCOW2)
        for image_format in (DiskFormat.QCOW2, DiskFormat.RAW):
            with self.subTest(str(image_format)), self.assertRaises(exceptions.ToolFailed):
                disks.make(self.disk(Role.ROOT, GIB, image_format), liar, LIMITS)
            self.assertEqual(self.names(), [])

    def test_raw_base_that_looks_like_an_overlay_is_copied_as_it_is(self) -> None:
        secret = self.cache / "secret"
        secret.write_bytes(b"not yours" + bytes(512))
        trap = self.cache / "trap"
        output("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", secret, trap, "1M")
        base = Base(trap, DiskFormat.RAW, trap.stat().st_size)
        disk = self.disk(Role.ROOT, 0)
        disks.make(disk, base, LIMITS)
        self.assertEqual(disk.source.path.read_bytes()[: base.virtual_size], trap.read_bytes())


class InstallerTest(StorageCase):
    def test_shares_the_cached_file(self) -> None:
        iso = dataclasses.replace(self.raw_base(), format=DiskFormat.ISO)
        disk = dataclasses.replace(self.disk(Role.INSTALLER, 0), device="cdrom")
        disks.make(disk, iso, LIMITS)
        self.assertTrue(disk.source.path.samefile(iso.path))
        self.assertEqual(self.names(), [disk.source.path.name])


class DataDiskTest(StorageCase):
    def label(self, path: Path) -> dict[str, str]:
        lines = output("blkid", "-p", "-o", "export", path).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def test_ephemeral_has_a_sound_file_system_and_takes_no_space(self) -> None:
        for size in (MIB, 10 * GIB):
            with self.subTest(size=size):
                disk = self.disk(Role.EPHEMERAL, size, index=3)
                disks.make(disk, None, LIMITS)
                found = self.label(disk.source.path)
                self.assertEqual((found["TYPE"], found["LABEL"]), ("ext4", "ephemeral3"))
                self.assertEqual(disk.source.path.stat().st_size, size)
                self.assertLess(disk.source.path.stat().st_blocks * 512, 16 * MIB)
                self.assert_private(disk.source.path)
                output("e2fsck", "-f", "-n", disk.source.path)
                header = output("dumpe2fs", "-h", disk.source.path)
                self.assertIn("Filesystem state:         clean", header)

    def test_ephemeral_has_the_file_system_that_was_asked_for(self) -> None:
        for filesystem in FileSystem:
            with self.subTest(filesystem):
                size = MIN_BYTES.get(filesystem, MIB)
                empty = self.disk(Role.EPHEMERAL, size, index=2)
                disk = dataclasses.replace(empty, filesystem=filesystem)
                if tools.locate(f"mkfs.{filesystem}") is None:
                    with self.assertRaisesRegex(exceptions.MissingDependency, "Debian's package"):
                        disks.make(disk, None, LIMITS)
                    continue
                disks.make(disk, None, LIMITS)
                found = self.label(disk.source.path)
                self.assertEqual(
                    (str(filesystem), "ephemeral2"), (found["TYPE"], found["LABEL"].lower())
                )
                self.assert_private(disk.source.path)

    def test_preallocated_disks_take_all_their_space(self) -> None:
        base = self.qcow2_base()
        for disk in (
            self.disk(Role.ROOT, 8 * MIB, DiskFormat.QCOW2),
            self.disk(Role.ROOT, 0),
            self.disk(Role.EPHEMERAL, 8 * MIB, index=0),
        ):
            with self.subTest(disk.source.path.name):
                disks.make(disk, base, LIMITS, allocate=True)
                size = disk.size_bytes or base.virtual_size
                path = disk.source.path
                self.assertGreaterEqual(path.stat().st_blocks * 512, size)
                found = described(path, str(disk.source.format))
                self.assertEqual(found["virtual-size"], size)
                self.assert_private(path)
                path.unlink()

    def test_swap_is_labelled(self) -> None:
        disk = self.disk(Role.SWAP, 64 * MIB)
        disks.make(disk, None, LIMITS)
        found = self.label(disk.source.path)
        self.assertEqual((found["TYPE"], found["LABEL"]), ("swap", "swap1"))
        self.assertEqual(disk.source.path.stat().st_size, 64 * MIB)
        self.assert_private(disk.source.path)


class ConfigDriveTest(StorageCase):
    def guest(self) -> Guest:
        return Guest(
            uuid="0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1",
            name="ein Gast",
            architecture="x86_64",
            image=Image(location="/images/a"),
            interfaces=(Interface(mac="52:54:00:00:00:01"),),
        )

    def read_back(self, drive: Path, reader: tuple[str, ...]) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as name:
            output("xorriso", "-osirrox", "on", *reader, "-indev", drive, "-extract", "/", name)
            found = {
                str(path.relative_to(name)): path.read_bytes()
                for path in Path(name).rglob("*")
                if path.is_file()
            }
            # The permissions in the image may prevent the removal of the copy.
            output("chmod", "-R", "u+rwX", name)
            return found

    def test_other_programs_read_the_same_bytes(self) -> None:
        config = ConfigDrive(
            hostname="b\u00fccher.example",
            user_data=(PATTERN + "\u4f60\u597d\n".encode())[-65535:],
            public_keys={"me": "ssh-ed25519 AAAA j\u00f6rg@here"},
            meta={"\u0440\u043e\u043b\u044c": "web"},
            admin_password="p\u00e4ss",
        )
        drive = self.home / "config-drive.iso"
        config_drive.build(config, self.guest(), drive_at(drive))
        self.assert_private(drive)
        self.assertEqual(output("blkid", "-p", "-o", "value", "-s", "LABEL", drive), "config-2\n")
        self.assertEqual(output("blkid", "-p", "-o", "value", "-s", "TYPE", drive), "iso9660\n")

        by_rock_ridge = self.read_back(drive, ())
        # Without Rock Ridge, xorriso reads Joliet, as Windows does.
        by_joliet = self.read_back(drive, ("-read_fs", "norock"))
        self.assertEqual(by_rock_ridge, by_joliet)
        wanted = config_drive.contents(config, self.guest())
        for version in ("latest", "2018-08-27"):
            found = {
                name.rpartition("/")[2]: data
                for name, data in by_rock_ridge.items()
                if name.startswith(f"openstack/{version}/")
            }
            self.assertEqual(found.keys(), wanted.keys())
            for name in wanted.keys() - {"meta_data.json"}:
                self.assertEqual(found[name], wanted[name], name)
            told = json.loads(found["meta_data.json"])
            self.assertEqual(told["hostname"], "b\u00fccher.example")
            self.assertEqual(told["keys"][0]["data"], "ssh-ed25519 AAAA j\u00f6rg@here")
            self.assertEqual(told["meta"], {"\u0440\u043e\u043b\u044c": "web"})
            self.assertEqual(told["admin_pass"], "p\u00e4ss")
        self.assertEqual(len(by_rock_ridge), 2 * len(wanted))
        self.assertEqual(len(by_rock_ridge["openstack/latest/user_data"]), 65535)

    def test_drive_with_given_files_has_no_others(self) -> None:
        files = {
            "ec2/1.0/meta-data.json": b"{}",
            "ec2/2009-04-04/user-data": b"#!/bin/sh\n",
            "openstack/content/0000": b"",
            "openstack/latest/meta_data.json": PATTERN,
        }
        drive = self.home / "config-drive.iso"
        config_drive.build(ConfigDrive(hostname="a", files=files), self.guest(), drive_at(drive))
        self.assertEqual(files, self.read_back(drive, ()))
        self.assertEqual(files, self.read_back(drive, ("-read_fs", "norock")))

    def test_a_second_one_replaces_the_first(self) -> None:
        drive = self.home / "config-drive.iso"
        for hostname in ("first", "second"):
            config_drive.build(ConfigDrive(hostname=hostname), self.guest(), drive_at(drive))
        told = json.loads(self.read_back(drive, ())["openstack/latest/meta_data.json"])
        self.assertEqual(told["hostname"], "second")
        self.assert_private(drive)

    def test_refused_values_leave_nothing(self) -> None:
        with self.assertRaises(exceptions.InvalidParameter):
            config_drive.build(
                ConfigDrive(hostname="a b"), self.guest(), drive_at(self.home / "drive")
            )
        self.assertEqual(self.names(), [])


class FullDiskTest(StorageCase):
    def setUp(self) -> None:
        super().setUp()
        mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(self.home)]
        if subprocess.run(mount, capture_output=True).returncode:
            self.skipTest("only root may mount a small file system")
        self.addCleanup(output, "umount", self.home)

    def test_nothing_is_left(self) -> None:
        base = self.raw_base(os.urandom(MIB))
        iso = dataclasses.replace(base, format=DiskFormat.ISO)
        guest = Guest(
            uuid="0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1",
            name="a",
            architecture="x86_64",
            image=Image(location="/images/a"),
        )
        drive = ConfigDrive(hostname="a", user_data=bytes(65535))
        overlay = self.disk(Role.ROOT, GIB, DiskFormat.QCOW2)
        cases: tuple[tuple[str, Callable[[], None]], ...] = (
            ("overlay", lambda: disks.make(overlay, base, LIMITS)),
            ("copy", lambda: disks.make(self.disk(Role.ROOT, GIB), base, LIMITS)),
            ("installer", lambda: disks.make(self.disk(Role.INSTALLER, 0), iso, LIMITS)),
            (
                "ephemeral",
                lambda: disks.make(self.disk(Role.EPHEMERAL, GIB), None, LIMITS),
            ),
            ("kernel", lambda: files.place(base.path, self.home / "kernel")),
            ("config", lambda: config_drive.build(drive, guest, drive_at(self.home / "drive"))),
        )
        for name, act in cases:
            with self.subTest(name):
                with self.assertRaises(exceptions.NotEnoughSpace):
                    act()
                self.assertEqual(self.names(), [])

    def test_swap_s_header_does_not_fit(self) -> None:
        (self.home / "other").write_bytes(bytes(32 * 1024))
        with self.assertRaises(exceptions.NotEnoughSpace):
            disks.make(self.disk(Role.SWAP, MIB), None, LIMITS)
        self.assertEqual(self.names(), ["other"])
