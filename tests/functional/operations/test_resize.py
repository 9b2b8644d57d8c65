# SPDX-License-Identifier: Apache-2.0
"""Resizes change a guest completely or not at all, and reverts restore the guest."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, Firmware, PowerState
from compute_driver.guest import GIB, MIB, ConfigDrive, Disk, Guest
from compute_driver.operations.base import power
from compute_driver.storage import exchange, file_disks
from compute_driver.storage.home import Home
from compute_driver.storage.source import FileSource
from compute_driver.system import files, tools
from tests.functional import base, inside, tiny, worker

RESIZE_POINTS = ("disk copied", "domain redefined", "new files complete", "new files moved")


def size(path: Path, disk_format: str = "qcow2") -> int:
    """Return what a guest sees of a disk, in bytes."""
    command = ["qemu-img", "info", "-U", "--output=json", "-f", disk_format, str(path)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return int(told["virtual-size"])


class ResizeTestCase(tiny.TinyTestCase):
    def directory(self, made: Guest) -> Path:
        return base.state_path() / "instances" / made.uuid

    def names(self, made: Guest) -> set[str]:
        return {path.name for path in base.entries(self.directory(made))}

    def assert_wholly(self, made: Guest, *, resized: bool, waits: bool) -> None:
        """Expect one of two guests, complete and ready for a power-on."""
        driver = self.other_driver()
        shown = driver.show(made.uuid)
        expected = worker.larger(driver, made.uuid) if resized else made
        self.assertEqual(expected, shown.guest)
        self.assertEqual(made if waits else None, shown.before)
        files = {"root.qcow2", "console.log"} | ({"swap.raw"} if resized else set())
        self.assertEqual(files | ({exchange.KEPT} if waits else set()), self.names(made))
        self.assertEqual((2 if resized else 1) * MIB, size(self.directory(made) / "root.qcow2"))
        self.assertEqual((), driver.audit())
        self.assertIs(PowerState.RUNNING, shown.state)
        driver.stop(made.uuid, timeout=0)
        driver.start(made.uuid)
        self.assertIs(PowerState.RUNNING, driver.show(made.uuid).state)


class TestInterruptedResize(ResizeTestCase):
    def kill_at(self, point: str, action: str, made: Guest) -> None:
        with worker.running(action, made.uuid, pause=point) as other:
            self.assertEqual(worker.PAUSED, other.says())

    def test_killed_resize_leaves_one_of_two_guests(self) -> None:
        for point in RESIZE_POINTS:
            with self.subTest(point):
                made = self.spawn_tiny()
                self.kill_at(point, "resize", made)
                done = point in ("new files complete", "new files moved")
                self.assert_wholly(made, resized=done, waits=done)
                self.driver.destroy(made.uuid)

    def test_killed_revert_is_finished(self) -> None:
        for point in ("old files wanted", "old files moved"):
            with self.subTest(point):
                made = self.spawn_tiny()
                self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
                self.kill_at(point, "revert_resize", made)
                self.assert_wholly(made, resized=False, waits=False)
                self.driver.destroy(made.uuid)

    def test_killed_confirmation_is_finished(self) -> None:
        made = self.spawn_tiny()
        self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
        self.kill_at("old files given up", "confirm_resize", made)
        self.assert_wholly(made, resized=True, waits=False)

    def test_failure_leaves_the_old_guest_as_it_was(self) -> None:
        made = self.spawn_tiny()
        larger = worker.larger(self.driver, made.uuid)
        failure = exceptions.NotEnoughSpace("no")
        for target in ("file_disks.grow", "exchange.commit"):
            with (
                self.subTest(target),
                mock.patch(f"compute_driver.storage.{target}", side_effect=failure),
                self.assertRaises(exceptions.NotEnoughSpace),
            ):
                self.driver.resize(made.uuid, larger, timeout=0)
            self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
            self.assert_wholly(made, resized=False, waits=False)

    def test_a_guest_without_room_for_copies_stays_as_it_is(self) -> None:
        made = self.spawn_tiny()
        emulators = tiny.emulators()
        full = shutil.disk_usage("/")._replace(free=4096)
        with (
            mock.patch.object(shutil, "disk_usage", return_value=full),
            self.assertRaises(exceptions.NotEnoughSpace),
        ):
            self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
        self.assertEqual(emulators, tiny.emulators())
        self.assert_wholly(made, resized=False, waits=False)

    def test_new_guest_is_off_before_the_old_files_come_back(self) -> None:
        made = self.spawn_tiny()
        power_on, backward = power.power_on, exchange.backward
        outcomes = [exceptions.LibvirtError("after it was started"), None]

        def fail_late(parts: Any, guest: Guest) -> None:
            power_on(parts, guest)
            failure = outcomes.pop(0)
            if failure is not None:
                raise failure

        def look(home: Home) -> None:
            if (home.directory / exchange.UNDOING).exists():
                self.assertEqual({}, tiny.emulators())
            backward(home)

        with (
            mock.patch.object(power, "power_on", fail_late),
            mock.patch.object(exchange, "backward", look),
            self.assertRaises(exceptions.LibvirtError),
        ):
            self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
        self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
        self.assert_wholly(made, resized=False, waits=False)

    def test_a_guest_that_does_not_start_in_the_new_size_gets_the_old_size(self) -> None:
        made = self.spawn_tiny()
        create = libvirt.virDomain.create
        outcomes = [tiny.libvirt_error(), None]

        def refuse_once(domain: libvirt.virDomain) -> None:
            failure = outcomes.pop(0)
            if failure is not None:
                raise failure
            create(domain)

        with (
            mock.patch.object(libvirt.virDomain, "create", refuse_once),
            self.assertRaises(exceptions.LibvirtError),
        ):
            self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
        self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
        self.assert_wholly(made, resized=False, waits=False)

    def test_a_settlement_that_fails_is_repeated_later(self) -> None:
        made = self.spawn_tiny()
        refusal = mock.patch.object(shutil, "rmtree", side_effect=PermissionError("no"))
        self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid), timeout=0)
        with refusal, self.assertRaises(exceptions.HostError):
            self.driver.confirm_resize(made.uuid)
        self.assert_wholly(made, resized=True, waits=False)


class TestFiles(ResizeTestCase):
    def resized(self, made: Guest, **changes: Any) -> Guest:
        guest = self.driver.show(made.uuid).guest
        self.driver.resize(made.uuid, dataclasses.replace(guest, **changes), timeout=0)
        return self.driver.show(made.uuid).guest

    def test_old_disks_come_back_byte_for_byte(self) -> None:
        made = self.spawn_tiny(
            swap=Disk(size_bytes=MIB),
            ephemerals=(Disk(size_bytes=4 * MIB),),
            config_drive=ConfigDrive(hostname="web", meta={"a": "b"}),
        )
        self.driver.stop(made.uuid, timeout=0)
        xml = self.description(made)
        before = self.contents(made)
        grown = (Disk(size_bytes=6 * MIB), Disk(size_bytes=4 * MIB))
        self.resized(made, ephemerals=grown, swap=None, root=Disk(size_bytes=3 * MIB))
        self.driver.start(made.uuid)
        directory = self.directory(made)
        self.assertEqual(6 * MIB, (directory / "ephemeral0.raw").stat().st_size)
        self.assertEqual(4 * MIB, (directory / "ephemeral1.raw").stat().st_size)
        self.assertFalse((directory / "swap.raw").exists())
        self.assertEqual(before["config-drive.iso"], (directory / "config-drive.iso").read_bytes())
        self.driver.revert_resize(made.uuid, timeout=0)
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)
        self.assertEqual(before, self.contents(made))
        self.assertEqual(xml, self.description(made))

    def description(self, made: Guest) -> str:
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(made.uuid)
            return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def contents(self, made: Guest) -> dict[str, bytes]:
        paths = [path for path in base.entries(self.directory(made)) if path.name != "console.log"]
        return {path.name: path.read_bytes() for path in paths}

    def test_the_new_config_drive_has_the_new_content(self) -> None:
        made = self.spawn_tiny(config_drive=ConfigDrive(hostname="web"))
        drive = self.directory(made) / "config-drive.iso"
        before = drive.read_bytes()
        self.resized(made, config_drive=ConfigDrive(hostname="web", meta={"role": "new-role"}))
        self.assertNotIn(b"new-role", before)
        self.assertIn(b"new-role", drive.read_bytes())

    def test_raw_disks_grow_whatever_the_guest_writes(self) -> None:
        driver = self.other_driver(disk_format="raw")
        made = tiny.guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        driver.spawn(made, power_on=False)
        root = self.directory(made) / "root.raw"
        forged = base.state_path() / "forged.qcow2"
        self.addCleanup(forged.unlink)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", str(forged), str(GIB)]
        subprocess.run(command, check=True)
        with root.open("r+b") as stream:
            stream.write(forged.read_bytes()[:MIB])
        # The forged header says 1 GiB; the disk has 1 MiB and grows to 2 MiB.
        driver.resize(made.uuid, dataclasses.replace(made, root=Disk(size_bytes=2 * MIB)))
        self.assertEqual(2 * MIB, root.stat().st_size)
        driver.confirm_resize(made.uuid)
        with self.assertRaises(exceptions.InvalidParameter):
            smaller = dataclasses.replace(made, root=Disk(size_bytes=MIB // 2))
            driver.check_resize(made.uuid, smaller)

    def test_preallocated_disks_take_all_their_space(self) -> None:
        for disk_format in ("qcow2", "raw"):
            with self.subTest(disk_format):
                driver = self.other_driver(disk_format=disk_format, preallocate_disks=True)
                made = tiny.guest(swap=Disk(size_bytes=MIB), ephemerals=(Disk(size_bytes=4 * MIB),))
                self.addCleanup(self.driver.destroy, made.uuid)
                driver.spawn(made, power_on=False)
                larger = dataclasses.replace(made, root=Disk(size_bytes=8 * MIB))
                driver.resize(made.uuid, larger)
                directory = self.directory(made)
                for name, wanted in (
                    (f"root.{disk_format}", 8 * MIB),
                    ("ephemeral0.raw", 4 * MIB),
                    ("swap.raw", MIB),
                ):
                    taken = files.allocated(directory / name)
                    self.assertGreaterEqual(taken, wanted, name)
                self.assertEqual(8 * MIB, size(directory / f"root.{disk_format}", disk_format))

    def test_holes_stay_holes(self) -> None:
        scratch = base.state_path() / "scratch.raw"
        copy = scratch.with_name("copy.raw")
        self.addCleanup(scratch.unlink)
        self.addCleanup(copy.unlink)
        with scratch.open("wb") as stream:
            stream.truncate(4 * GIB)
            stream.seek(GIB)
            stream.write(b"data")
        files.clone(scratch, copy, tools.limits(self.driver.conf))
        self.assertEqual(4 * GIB, copy.stat().st_size)
        self.assertLess(copy.stat().st_blocks * 512, MIB)
        source = FileSource(path=copy, format=DiskFormat.RAW)
        file_disks.grow(source, 5 * GIB, tools.limits(self.driver.conf))
        self.assertEqual(5 * GIB, copy.stat().st_size)

    def test_variables_of_the_firmware_come_back(self) -> None:
        made = self.spawn_tiny(firmware=Firmware.UEFI, memory_mib=128)
        self.driver.stop(made.uuid, timeout=0)
        nvram = self.directory(made) / "nvram.fd"
        before = nvram.read_bytes()
        self.resized(made, memory_mib=160)
        self.assertEqual(before, nvram.read_bytes())
        nvram.write_bytes(before[:-1] + b"x")
        self.driver.destroy(made.uuid, keep_files=True)
        self.driver.revert_resize(made.uuid)
        self.assertEqual(before, nvram.read_bytes())

    def test_suspended_guest_is_refused(self) -> None:
        made = self.spawn_tiny()
        self.driver.suspend(made.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.resized(made, memory_mib=24)
        self.driver.resume(made.uuid)

    def test_an_audit_reports_kept_files_and_never_removes_the_files(self) -> None:
        made = self.spawn_tiny()
        self.driver.destroy(made.uuid, keep_files=True)
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual("kept directory", finding.kind)
            self.assertFalse(finding.repaired)
        again = tiny.guest(uuid=made.uuid, name=made.name)
        failure = mock.patch.object(libvirt.virDomain, "create", side_effect=tiny.libvirt_error())
        with failure, self.assertRaises(exceptions.LibvirtError):
            self.driver.spawn(again)
        self.assertEqual((), self.driver.list())
        self.assertTrue((self.directory(made) / "root.qcow2").exists())
        self.driver.spawn(again)
        self.assertEqual((), self.driver.audit())
        self.driver.destroy(str(uuid.uuid4()), keep_files=True)


class TestInside(base.HostTestCase):
    def test_guest_sees_its_new_size_and_its_old_data(self) -> None:
        made = self.spawn()
        inside.run(self.driver, made, "echo kept | dd of=/dev/vda bs=512 seek=2000000; sync")
        guest = self.driver.show(made.uuid).guest
        larger = dataclasses.replace(guest, vcpus=2, memory_mib=256, root=Disk(size_bytes=2 * GIB))
        with inside.boots(self.driver, made):
            self.driver.resize(made.uuid, larger)
        sectors = inside.run(self.driver, made, "cat /sys/block/vda/size; nproc")
        self.assertEqual([str(2 * GIB // 512), "2"], sectors.split())
        peek = "dd if=/dev/vda bs=512 skip=2000000 count=1 2>/dev/null | head -n 1"
        self.assertEqual("kept", inside.run(self.driver, made, peek).strip())
        inside.run(self.driver, made, "echo lost | dd of=/dev/vda bs=512 seek=2000000; sync")
        with inside.boots(self.driver, made):
            self.driver.revert_resize(made.uuid)
        self.assertEqual("kept", inside.run(self.driver, made, peek).strip())
        sectors = inside.run(self.driver, made, "cat /sys/block/vda/size; nproc")
        self.assertEqual([str(GIB // 512), "1"], sectors.split())
