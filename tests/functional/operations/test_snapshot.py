# SPDX-License-Identifier: Apache-2.0
"""Snapshots make complete image files or none, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState, Quiesce, SnapshotFormat
from compute_driver.guest import GIB, MIB, DirectBoot, Disk, Image
from compute_driver.libvirt import domain as domains
from compute_driver.operations import snapshot
from compute_driver.operations.base import disk_copy, journal
from compute_driver.system import space, steps, tools
from tests.functional import base, inside, tiny, worker
from tests.functional.command import eventually
from tests.functional.processes import daemon_pid, ended
from tests.functional.programs import described, output

#: The size of the disk: a copy takes some time.
CONTENT_BYTES = 256 * MIB

NO_GUEST = "00000000-0000-0000-0000-000000000000"


class TestInside(inside.SharedGuestTestCase):
    """The image has the data before the snapshot, and no later data."""

    def test_the_image_is_the_disk_at_the_moment_of_the_snapshot(self) -> None:
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        target = Path(home.name, "image.qcow2")
        boot = inside.boot_id(self.driver, self.made)
        self.run_inside("echo before | dd of=/dev/vda bs=512 seek=2000000 conv=notrunc; sync")
        self.driver.snapshot(self.made.uuid, target)
        self.run_inside("echo later! | dd of=/dev/vda bs=512 seek=2000000 conv=notrunc; sync")
        self.assertEqual(boot, inside.boot_id(self.driver, self.made))
        self.assertNotIn("backing-filename", described(target, "qcow2"))
        raw = target.with_suffix(".raw")
        output("qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, raw)
        with raw.open("rb") as stream:
            stream.seek(2000000 * 512)
            self.assertEqual(b"before\n", stream.read(7))
        self.assertEqual((), self.driver.audit())


class SnapshotCase(tiny.TinyTestCase):
    """A guest that boots nothing, with a disk full of noise."""

    image: Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        cls.addClassCleanup(home.cleanup)
        cls.image = Path(home.name, "noise")
        cls.image.write_bytes(os.urandom(CONTENT_BYTES))

    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        self.target = Path(home.name, "image")
        self.made = self.spawn_tiny(
            image=Image(location=str(self.image)), root=Disk(size_bytes=CONTENT_BYTES + MIB)
        )

    def snapshot(
        self, image_format: SnapshotFormat = SnapshotFormat.RAW, target: Path | None = None
    ) -> None:
        self.driver.snapshot(self.made.uuid, target or self.target, image_format=image_format)

    def assert_whole(self, image_format: SnapshotFormat = SnapshotFormat.RAW) -> None:
        formats = ("-f", str(image_format), "-F", "raw")
        self.assertIn(
            "Images are identical.",
            output("qemu-img", "compare", *formats, self.target, self.image),
        )
        self.assertNotIn("backing-filename", described(self.target, str(image_format)))
        self.target.unlink()

    def assert_nothing_remains(self) -> None:
        """Expect that neither files nor a job remain, and that a new snapshot can be made."""
        self.assertEqual([], list(self.target.parent.iterdir()))
        self.assertEqual([], self.leftovers())
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(self.made.uuid)
            self.assertEqual(libvirt.VIR_DOMAIN_JOB_NONE, domain.jobStats()["type"])
        self.assertEqual((), self.driver.audit())
        self.assertIs(PowerState.RUNNING, self.driver.show(self.made.uuid).state)
        self.snapshot()
        self.assert_whole()

    def leftovers(self) -> list[Path]:
        return disk_copy.leftovers(self.driver._parts, self.made.uuid)


class TestFormats(SnapshotCase):
    def test_running_and_stopped_guests_give_every_format(self) -> None:
        for image_format in SnapshotFormat:
            with self.subTest(str(image_format)):
                self.snapshot(image_format)
                self.assert_whole(image_format)
        self.driver.stop(self.made.uuid, timeout=0)
        for image_format in SnapshotFormat:
            with self.subTest(f"{image_format}, stopped"):
                self.snapshot(image_format)
                self.assert_whole(image_format)

    def test_empty_parts_of_the_disk_take_no_space(self) -> None:
        made = self.spawn_tiny(root=Disk(size_bytes=GIB))
        self.driver.snapshot(made.uuid, self.target, image_format=SnapshotFormat.RAW)
        self.assertEqual(GIB, self.target.stat().st_size)
        self.assertLess(self.target.stat().st_blocks * 512, MIB)

    def test_a_raw_disk(self) -> None:
        driver = self.other_driver(disk_format="raw")
        made = tiny.guest(image=Image(location=str(self.image)), root=Disk())
        self.addCleanup(driver.destroy, made.uuid)
        driver.spawn(made)
        driver.snapshot(made.uuid, self.target)
        self.assert_whole(SnapshotFormat.QCOW2)

    def test_a_disk_that_the_emulator_uses_is_not_opened(self) -> None:
        run, seen = tools.run, []

        def look(argv: Sequence[str], *arguments: Any, **options: Any) -> str:
            seen.extend(argv)
            return run(argv, *arguments, **options)

        with mock.patch.object(tools, "run", look):
            self.snapshot()
        self.assertIn("qemu-img", seen)
        disk = base.state_path() / "instances" / self.made.uuid / "root.qcow2"
        self.assertNotIn(str(disk), seen)
        self.assert_whole()

    def test_a_file_that_appears_meanwhile_is_not_replaced(self) -> None:
        def write(*_arguments: object) -> None:
            self.target.write_text("other")

        for image_format in SnapshotFormat:
            with (
                self.subTest(str(image_format)),
                mock.patch.object(space, "require", write),
                self.assertRaises(exceptions.InvalidParameter),
            ):
                self.snapshot(image_format)
            self.assertEqual("other", self.target.read_text())
            self.target.unlink()
        self.assert_nothing_remains()

    def test_a_target_on_another_file_system(self) -> None:
        with tiny.file_system(CONTENT_BYTES // 1024 + 8192) as place:
            self.snapshot(SnapshotFormat.QCOW2, place / "image")
            self.assertEqual([place / "image"], list(place.iterdir()))
            described(place / "image", "qcow2")
        self.assert_nothing_remains()

    def test_a_target_in_a_directory_of_a_guest_is_refused(self) -> None:
        instances = base.state_path() / "instances"
        own = instances / self.made.uuid
        beside = tempfile.TemporaryDirectory(dir=instances)
        self.addCleanup(beside.cleanup)
        link = Path(beside.name, "link")
        link.symlink_to(own)
        for target in (own / "image", link / "image", link / ".." / NO_GUEST, instances / NO_GUEST):
            with self.subTest(target), self.assertRaises(exceptions.InvalidParameter):
                self.snapshot(target=target)

    def test_a_target_beside_the_directories_of_guests(self) -> None:
        beside = tempfile.TemporaryDirectory(dir=base.state_path() / "instances")
        self.addCleanup(beside.cleanup)
        self.target = Path(beside.name, "image")
        self.snapshot(SnapshotFormat.QCOW2)
        self.assert_whole(SnapshotFormat.QCOW2)


class TestFailures(SnapshotCase):
    def test_full_file_system(self) -> None:
        with tiny.file_system(1024) as place:
            with self.assertRaises(exceptions.NotEnoughSpace):
                self.snapshot(target=place / "image")
            self.assertEqual([], list(place.iterdir()))
        self.assert_nothing_remains()

    def test_guest_without_a_root_disk(self) -> None:
        iso = Image(location=str(self.image))
        made = self.spawn_tiny(image=None, boot=_kernel(iso), root=None)
        with self.assertRaisesRegex(exceptions.SnapshotFailed, "no root disk"):
            self.driver.snapshot(made.uuid, self.target)

    def test_deadline(self) -> None:
        parts = self.driver._parts
        with (
            self.assertRaisesRegex(exceptions.OperationTimeout, "snapshot_timeout"),
            journal.operation(parts, self.made.uuid, "snapshot") as op,
        ):
            snapshot.snapshot(
                parts,
                self.made.uuid,
                self.target,
                SnapshotFormat.RAW,
                Quiesce.NEVER,
                0,
                lambda *_: None,
                op,
            )
        self.assert_nothing_remains()

    def test_emulator_fails(self) -> None:
        begin = libvirt.virDomain.backupBegin

        def begin_and_abort(domain: libvirt.virDomain, *words: Any) -> None:
            begin(domain, *words)
            domain.abortJob()  # at once: a copy takes a fifth of a second

        failing = mock.patch.object(libvirt.virDomain, "backupBegin", begin_and_abort)
        with failing, self.assertRaises(exceptions.SnapshotFailed):
            self.snapshot()
        self.assert_nothing_remains()

    def after_begin(self, action: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
        """Do something as soon as the emulator has begun to copy."""
        return steps.announced_to(lambda step: step == "copy begun" and action())

    def test_emulator_that_hangs_does_not_hold_the_next_driver(self) -> None:
        emulator = tiny.emulators()[self.made.uuid]
        arguments = ("snapshot", self.made.uuid)
        with worker.running(*arguments, pause="copy begun", image=str(self.target)) as other:
            self.assertEqual(worker.PAUSED, other.says())
            os.kill(emulator, signal.SIGSTOP)
        self.addCleanup(lambda: emulator in tiny.emulators().values() and _go_on(emulator))
        with mock.patch.object(disk_copy, "ABORT_SECONDS", 2):
            started = time.monotonic()
            driver = self.other_driver()
            self.assertLess(time.monotonic() - started, 30)
            driver.stop(self.made.uuid, timeout=0)
        self.assertEqual([], self.leftovers())
        self.snapshot()
        self.assert_whole()

    def test_emulator_that_hangs_meanwhile_ends_the_snapshot(self) -> None:
        emulator = tiny.emulators()[self.made.uuid]
        self.addCleanup(lambda: emulator in tiny.emulators().values() and _go_on(emulator))

        def hang() -> None:
            os.kill(emulator, signal.SIGSTOP)
            for module, name in (
                (domains, "ANSWER_SECONDS"),
                (disk_copy, "EMULATOR_SECONDS"),
                (disk_copy, "ABORT_SECONDS"),
            ):
                patience.enter_context(mock.patch.object(module, name, 2.0))

        with (
            contextlib.ExitStack() as patience,
            self.after_begin(hang),
            self.assertRaisesRegex(exceptions.OperationTimeout, "does not answer within 2 s"),
        ):
            self.snapshot()
        self.assertEqual(([], False), (self.leftovers(), self.target.exists()))
        _go_on(emulator)
        domain = tiny.libvirt_connection(self).lookupByUUIDString(self.made.uuid)
        eventually(lambda: domain.jobStats()["type"] == libvirt.VIR_DOMAIN_JOB_NONE)
        self.assert_nothing_remains()

    def test_a_guest_that_is_destroyed_meanwhile(self) -> None:
        begun = threading.Event()
        destroyer = threading.Thread(
            target=lambda: begun.wait(30) and self.driver.destroy(self.made.uuid)
        )
        destroyer.start()
        with self.after_begin(begun.set):
            try:
                self.snapshot()
            except exceptions.SnapshotFailed:
                self.assertFalse(self.target.exists())
            else:  # the copy was faster
                self.assert_whole()
        destroyer.join(60)
        self.assertEqual((), self.driver.list())

    def test_a_guest_that_ends_meanwhile_is_copied(self) -> None:
        with self.after_begin(lambda: os.kill(tiny.emulators()[self.made.uuid], signal.SIGKILL)):
            self.snapshot()
        self.assertIs(PowerState.STOPPED, self.driver.show(self.made.uuid).state)
        self.assert_whole()
        self.assertEqual([], self.leftovers())

    def test_a_libvirt_that_is_killed_meanwhile(self) -> None:
        def kill() -> None:
            pid = daemon_pid(base.state_path())
            os.kill(pid, signal.SIGKILL)
            self.assertTrue(ended([pid], 30))

        with self.after_begin(kill):
            try:
                self.snapshot()
            except exceptions.ComputeDriverError as error:
                self.assertFalse(self.target.exists(), error)
            else:
                self.assert_whole()
        self.assert_nothing_remains()


class TestKilled(SnapshotCase):
    def kill_at(self, point: str) -> None:
        arguments = ("snapshot", self.made.uuid)
        with worker.running(*arguments, pause=point, image=str(self.target)) as other:
            self.assertEqual(worker.PAUSED, other.says())

    def test_the_next_driver_removes_the_parts_of_a_killed_snapshot(self) -> None:
        for point in ("copy begun", "copy complete", "image converted"):
            with self.subTest(point):
                self.kill_at(point)
                self.assertFalse(self.target.exists())
                self.assertTrue(self.leftovers())
                self.other_driver()
                self.assert_nothing_remains()

    def test_the_next_snapshot_removes_the_parts_of_a_killed_snapshot(self) -> None:
        self.kill_at("copy begun")
        self.assert_nothing_remains_but_by_the_next_one()

    def assert_nothing_remains_but_by_the_next_one(self) -> None:
        self.snapshot()
        self.assert_whole()
        self.assert_nothing_remains()

    def test_the_audit_removes_parts_without_a_note(self) -> None:
        part = base.state_path() / "instances" / self.made.uuid / "snapshot.qcow2"
        part.write_bytes(b"half")
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual(("partial snapshot", str(part)), (finding.kind, finding.subject))
            self.assertIs(repair, finding.repaired)
        self.assert_nothing_remains()


def _go_on(process: int) -> None:
    os.kill(process, signal.SIGCONT)


def _kernel(image: Image) -> DirectBoot:
    return DirectBoot(kernel=image)
