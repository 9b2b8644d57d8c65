# SPDX-License-Identifier: Apache-2.0
"""The cache keeps the images that guests need, and the audit reports a lost one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState
from compute_driver.guest import GIB, Disk, Guest, Image
from compute_driver.storage import overlay, owner
from tests.functional import base, tiny, worker


class TestCache(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.driver.image_prune(unused=0)  # images of other tests
        self.addCleanup(lambda: self.driver.image_prune(unused=0))

    def image(self, name: str = "small") -> Image:
        path = base.state_path() / f"{name}-{time.monotonic_ns()}.qcow2"
        self.addCleanup(path.unlink)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
        return Image(location=str(path), format=DiskFormat.QCOW2)

    def spawned(self, source: Image, **changes: object) -> Guest:
        return self.spawn_tiny(image=source, root=Disk(size_bytes=GIB), **changes)

    def base(self, made: Guest) -> Path:
        path = overlay.base(base.state_path() / "instances" / made.uuid / "root.qcow2")
        assert path is not None
        return path

    def unreadable(self, name: str) -> Path:
        """Make a link to itself, which not even root can read."""
        path = base.state_path() / "instances" / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(path)
        return path

    def test_base_of_guests_stays_until_they_are_destroyed(self) -> None:
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

    def test_base_stays_whose_overlay_another_client_has_changed(self) -> None:
        for change in (self.rename, self.insert):
            with self.subTest(change.__name__):
                made = self.spawned(self.image())
                path = self.base(made)
                self.driver.stop(made.uuid, timeout=0)
                change(made, base.state_path() / "instances" / made.uuid / "root.qcow2")
                shutil.rmtree(path.parent / "users")  # only the disks tell of the guest
                self.driver.image_prune(unused=0)
                self.assertTrue(path.exists())
                self.driver.start(made.uuid)
                self.driver.destroy(made.uuid)

    def rename(self, made: Guest, disk: Path) -> None:
        """Give a disk a name that is no name of this driver."""
        domain = tiny.libvirt_connection(self).lookupByUUIDString(made.uuid)
        renamed = disk.rename(disk.with_name("other"))
        domain.connect().defineXML(domain.XMLDesc().replace(str(disk), str(renamed)))

    def insert(self, _made: Guest, disk: Path) -> None:
        """Make a snapshot of a disk by hand."""
        backing = ["-F", "qcow2", "-b", disk.rename(disk.with_name("before"))]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, disk], check=True)

    def test_base_of_a_guest_in_another_directory_stays(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        made = self.spawned(self.image())
        path = self.base(made)
        self.driver.stop(made.uuid, timeout=0)
        other = self.other_driver(instances_path=holder.name)
        self.assertEqual((), other.image_prune(unused=0))
        self.assertEqual([(made.uuid,)], [entry.guests for entry in other.image_list()])
        self.driver.start(made.uuid)
        self.driver.destroy(made.uuid)
        self.assertEqual([str(path)], [entry.path for entry in other.image_prune(unused=0)])

    def test_lost_owner_is_made_again_as_the_domains_name_it(self) -> None:
        self.spawned(self.image())
        path = base.state_path() / "instances" / owner.FILE
        lost = path.read_text()
        path.unlink()
        self.assertEqual((), self.driver.image_prune(unused=0))
        self.assertEqual(lost, path.read_text())

    def test_base_of_a_directory_without_a_domain_stays(self) -> None:
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

    def test_no_image_goes_while_a_guest_s_directory_is_unreadable(self) -> None:
        self.assertTrue(self.driver.image_cache(self.image()))
        name = str(uuid.uuid4())
        path = self.unreadable(name)
        try:
            with self.assertRaisesRegex(exceptions.HostError, name):
                self.driver.image_prune(unused=0)
        finally:
            path.unlink()
        self.assertEqual(1, len(self.driver.image_list()))

    def test_other_directories_may_be_unreadable(self) -> None:
        self.assertTrue(self.driver.image_cache(self.image()))
        self.addCleanup(self.unreadable("lost+found").unlink)
        self.assertEqual(1, len(self.driver.image_prune(unused=0)))

    def test_image_that_a_spawn_is_about_to_use_stays(self) -> None:
        source, number = self.image(), str(uuid.uuid4())
        self.addCleanup(self.driver.destroy, number)
        with worker.running(
            "spawn", number, pause="directory made", image=source.location
        ) as other:
            self.assertEqual(worker.PAUSED, other.says())
            self.assertEqual((), self.driver.image_prune(unused=0))
            other.go_on()
            self.assertEqual(worker.DONE, other.says())
        self.assertIs(PowerState.RUNNING, self.driver.show(number).state)

    def test_killed_spawn_keeps_no_image(self) -> None:
        number = str(uuid.uuid4())
        image = self.image().location
        with worker.running("spawn", number, pause="directory made", image=image) as other:
            self.assertEqual(worker.PAUSED, other.says())
        self.other_driver()
        self.assertEqual([image], [entry.source for entry in self.driver.image_prune(unused=0)])

    def test_killed_pruning_does_no_harm_and_can_be_repeated(self) -> None:
        for point, remains in (("image chosen", 1), ("image forgotten", 0)):
            with self.subTest(point):
                source = self.image()
                self.assertTrue(self.driver.image_cache(source))
                with worker.running("prune", pause=point) as other:
                    self.assertEqual(worker.PAUSED, other.says())
                self.assertEqual(remains, len(self.driver.image_list()))
                # The next spawn gets the whole image.
                made = self.spawned(source)
                self.assertTrue(self.base(made).exists())
                self.driver.destroy(made.uuid)
                self.assertEqual(1, len(self.driver.image_prune(unused=0)))
                self.assertEqual((), self.driver.audit())

    def test_audit_reports_a_lost_base(self) -> None:
        made = self.spawned(self.image())
        path = self.base(made)
        aside = path.with_name("aside")
        path.rename(aside)
        try:
            (finding,) = (row for row in self.driver.audit() if row.kind == "missing file")
        finally:
            aside.rename(path)
        self.assertEqual(str(path), finding.subject)
        self.assertIn(f"base image of root.qcow2 of guest {made.uuid}", finding.detail)
        self.assertEqual((), self.driver.audit())
