# SPDX-License-Identifier: Apache-2.0
"""No image goes that a guest needs, and one that went is missed."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState
from compute_driver.guest import GIB, Disk, Guest, Image
from compute_driver.storage import overlay
from tests.functional import base, tiny, worker


class TestCache(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.driver.image_prune(unused=0)  # what other tests have left
        self.addCleanup(lambda: self.driver.image_prune(unused=0))

    def image(self, name: str = "small") -> Image:
        path = base.state_path() / f"{name}-{time.monotonic_ns()}.qcow2"
        self.addCleanup(path.unlink)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
        return Image(location=str(path), format=DiskFormat.QCOW2)

    def spawned(self, source: Image, **changes: object) -> Guest:
        return self.spawn_tiny(image=source, root=Disk(size_bytes=GIB), **changes)

    def base(self, made: Guest) -> Path:
        found = overlay.base(base.state_path() / "instances" / made.uuid / "root.qcow2")
        assert found is not None
        return found

    def unreadable(self, name: str) -> Path:
        """Make a directory that not even root can read: it leads to itself."""
        path = base.state_path() / "instances" / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(path)
        return path

    def test_base_of_guests_stays_whatever_they_do(self) -> None:
        source = self.image()
        first, second = self.spawned(source), self.spawned(source)
        path = self.base(first)
        self.driver.stop(first.uuid, timeout=0)
        self.assertEqual((), self.driver.image_prune(unused=0))
        users = {entry.path: entry.guests for entry in self.driver.image_list()}
        self.assertEqual(tuple(sorted((first.uuid, second.uuid))), users[str(path)])
        self.driver.destroy(first.uuid)
        self.driver.suspend(second.uuid)
        self.assertEqual((), self.driver.image_prune(unused=0))
        self.driver.destroy(second.uuid)
        self.assertEqual([str(path)], [entry.path for entry in self.driver.image_prune(unused=0)])
        self.assertFalse(path.exists())

    def test_base_of_what_has_no_domain_stays(self) -> None:
        made = self.spawned(self.image())
        path = self.base(made)
        directory = base.state_path() / "instances" / made.uuid
        other = directory.with_name(f"{made.uuid}_resize")
        shutil.copytree(directory, other)
        self.addCleanup(shutil.rmtree, other, ignore_errors=True)
        self.driver.destroy(made.uuid)
        self.assertEqual((), self.driver.image_prune(unused=0))
        shutil.rmtree(other)
        self.assertEqual([str(path)], [entry.path for entry in self.driver.image_prune(unused=0)])

    def test_nothing_goes_while_a_guest_s_directory_cannot_be_read(self) -> None:
        self.assertTrue(self.driver.image_cache(self.image()))
        name = str(uuid.uuid4())
        path = self.unreadable(name)
        try:
            with self.assertRaisesRegex(exceptions.HostError, name):
                self.driver.image_prune(unused=0)
        finally:
            path.unlink()
        self.assertEqual(1, len(self.driver.image_list()))

    def test_what_is_no_guest_s_need_not_be_readable(self) -> None:
        self.assertTrue(self.driver.image_cache(self.image()))
        self.addCleanup(self.unreadable("lost+found").unlink)
        self.assertEqual(1, len(self.driver.image_prune(unused=0)))

    def test_image_that_a_spawn_is_about_to_use_stays(self) -> None:
        source, number = self.image(), str(uuid.uuid4())
        self.addCleanup(self.driver.destroy, number)
        with worker.running("spawn", number, pause="directory made", image=source.location) as it:
            self.assertEqual(worker.PAUSED, it.says())
            self.assertEqual((), self.driver.image_prune(unused=0))
            it.go_on()
            self.assertEqual(worker.DONE, it.says())
        self.assertIs(PowerState.RUNNING, self.driver.show(number).state)

    def test_spawn_that_died_keeps_no_image(self) -> None:
        number = str(uuid.uuid4())
        image = self.image().location
        with worker.running("spawn", number, pause="directory made", image=image) as it:
            self.assertEqual(worker.PAUSED, it.says())
        self.other_driver()
        self.assertEqual([image], [entry.source for entry in self.driver.image_prune(unused=0)])

    def test_pruning_that_died_harms_nobody_and_can_be_done_again(self) -> None:
        for point, remains in (("image chosen", 1), ("image forgotten", 0)):
            with self.subTest(point):
                source = self.image()
                self.assertTrue(self.driver.image_cache(source))
                with worker.running("prune", pause=point) as it:
                    self.assertEqual(worker.PAUSED, it.says())
                self.assertEqual(remains, len(self.driver.image_list()))
                # The next one who wants it has it whole.
                made = self.spawned(source)
                self.assertTrue(self.base(made).exists())
                self.driver.destroy(made.uuid)
                self.assertEqual(1, len(self.driver.image_prune(unused=0)))
                self.assertEqual((), self.driver.audit())

    def test_base_that_vanished_is_missed_by_the_audit(self) -> None:
        made = self.spawned(self.image())
        path = self.base(made)
        aside = path.with_name("aside")
        path.rename(aside)
        try:
            (finding,) = (each for each in self.driver.audit() if each.kind == "missing file")
        finally:
            aside.rename(path)
        self.assertEqual(str(path), finding.subject)
        self.assertIn(f"base image of root.qcow2 of guest {made.uuid}", finding.detail)
        self.assertEqual((), self.driver.audit())
