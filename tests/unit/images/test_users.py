# SPDX-License-Identifier: Apache-2.0
"""Two state directories with one cache: neither removes the images of the other's guests."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import unittest
import uuid
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import Image
from compute_driver.images.cache import ImageCache
from compute_driver.storage import owner
from tests.unit import base


class UsersTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.first, self.second = (self.cache(name) for name in ("first", "second"))

    def cache(self, name: str) -> ImageCache:
        return ImageCache(self.conf(name))

    def conf(self, name: str) -> cfg.ConfigOpts:
        state, images = str(self.home / name), str(self.home / "images")
        return base.configuration(state_path=state, image_cache_path=images)

    def set_aside(self, state: str) -> None:
        (self.home / state).rename(self.home / "aside")

    def source(self) -> str:
        path = self.home / "disk.raw"
        path.write_bytes(b"disk" * 100)
        return str(path)

    def taken(self, cache: ImageCache, name: str = "disk") -> Path:
        """Let guests of a cache's driver take an image."""
        source = self.home / f"{name}.raw"
        if not source.exists():
            source.write_bytes(name.encode() * 100)
        with cache.holding("guest"):
            return cache.get(Image(location=str(source), format=DiskFormat.RAW)).path

    def guest(self, state: str, image: Path) -> Path:
        """Make the directory of a guest with an overlay of an image, and return the overlay."""
        path = self.home / state / "instances" / str(uuid.uuid4()) / "root.qcow2"
        path.parent.mkdir(parents=True)
        name = os.fsencode(image)
        path.write_bytes(struct.pack(">4sIQI", b"QFI\xfb", 3, 20, len(name)) + name)
        return path

    def pruned(self, cache: ImageCache, used: tuple[Path, ...] = ()) -> list[str]:
        return [entry.path for entry in cache.prune(0, lambda: dict.fromkeys(used, ("guest",)))]

    def assert_kept(self, image: Path, reason: str) -> None:
        with self.assertLogs("compute_driver.images.cache", "WARNING") as logs:
            self.assertNotIn(str(image), self.pruned(self.second))
        self.assertTrue(image.exists())
        (line,) = logs.output
        self.assertRegex(line, f"The cache keeps 1 image for .*{reason}.*remove {self.home}/images")
        with self.assertLogs("compute_driver.images.cache", "WARNING") as logs:
            self.second.recorded_users()  # a list of the images lacks these guests
        self.assertRegex("".join(logs.output), reason)

    def test_an_image_of_guests_elsewhere_stays_until_they_are_gone(self) -> None:
        image = self.taken(self.first)
        disk = self.guest("first", image)
        self.assertEqual([], self.pruned(self.second))
        self.assertEqual({image: {disk.parent.name}}, dict(self.second.recorded_users()))
        shutil.rmtree(disk.parent)
        self.assertEqual([str(image)], self.pruned(self.second))
        self.assertEqual([], list(self.home.glob(f"images/users/*/{image.name}.*")))

    def test_each_directory_keeps_its_images(self) -> None:
        one, two, nobody = (self.taken(self.first, name) for name in ("one", "two", "nobody"))
        self.taken(self.second, "two")
        self.guest("first", one)
        self.guest("second", two)
        self.assertEqual([str(nobody)], self.pruned(self.cache("third")))

    def test_a_directory_that_is_not_mounted_keeps_its_images(self) -> None:
        image, other = self.taken(self.first), self.taken(self.second, "other")
        self.guest("first", image)
        instances, aside = self.home / "first" / "instances", self.home / "aside"
        instances.rename(aside)
        with self.subTest("no mount point"):
            self.assert_kept(image, f"{instances} of host .* has no file")
        self.assertFalse(other.exists())
        instances.mkdir()
        with self.subTest("an empty mount point"):
            self.assert_kept(image, f"{instances} of host .* has no file")
        self.assertEqual([], self.second.leftovers())
        instances.rmdir()
        aside.rename(instances)
        self.assertEqual([], self.pruned(self.second))

    def test_a_directory_of_another_host_keeps_its_images(self) -> None:
        """A directory of this host at the same path has another owner."""
        image = self.taken(self.first)
        (note,) = self.home.glob("images/users/*/directory.json")
        note.write_text(json.dumps(json.loads(note.read_text()) | {"host": "elsewhere"}))
        self.set_aside("first")
        (self.home / "first" / "instances").mkdir(parents=True)
        owner.make(self.home / "first" / "instances")
        self.assert_kept(image, "of host elsewhere has no file")

    def test_a_guest_whose_disk_is_elsewhere_keeps_the_images_that_it_took(self) -> None:
        image = self.taken(self.first)
        directory = self.home / "first" / "instances" / "guest"
        directory.mkdir()
        for cache in (self.second, self.first):
            self.assertEqual([], self.pruned(cache))
            self.assertEqual({image: {"guest"}}, dict(cache.recorded_users()))
        directory.rmdir()
        self.first.release("guest")
        self.assertEqual([str(image)], self.pruned(self.first))

    def test_a_directory_that_moves_keeps_its_records(self) -> None:
        image, other = self.taken(self.first), self.taken(self.first, "other")
        instances = self.home / "first" / "instances"
        (instances / "guest").mkdir()
        (self.home / "first").rename(self.home / "moved")
        moved = self.cache("moved")
        with self.assertNoLogs("compute_driver.images.cache", "WARNING"):
            self.assertEqual({image, other}, set(moved.recorded_users()))
            self.assertEqual([], self.pruned(moved, used=(image,)))
        (note,) = self.home.glob("images/users/*/directory.json")
        self.assertIn(str(self.home / "moved"), note.read_text())
        self.assertEqual([], self.pruned(self.second))
        (self.home / "moved" / "instances" / "guest").rmdir()
        moved.release("guest")
        self.assertEqual(sorted([str(image), str(other)]), sorted(self.pruned(moved)))
        self.assertEqual([note], list(note.parent.iterdir()))

    def test_a_copy_does_not_hide_the_original(self) -> None:
        image = self.taken(self.first)
        shutil.copytree(self.home / "first", self.home / "copy")
        copy = self.cache("copy")
        other = self.taken(copy, "other")
        self.guest("first", image)
        self.assertEqual([str(other)], self.pruned(copy))

    def test_guests_of_a_copy_keep_the_images_that_they_took(self) -> None:
        self.taken(self.first, "one")
        self.first.release("guest")
        shutil.copytree(self.home / "first", self.home / "copy")
        image = self.taken(self.cache("copy"))
        (self.home / "copy" / "instances" / "guest").mkdir()
        for cache in (self.first, self.second):
            self.assertNotIn(str(image), self.pruned(cache))
        (self.home / "copy").rename(self.home / "aside")
        self.assert_kept(image, "copy/instances of host .* has no file")
        (note,) = self.home.glob("images/users/*/directory-*.json")
        note.unlink()  # the operator knows that the copy is gone for good
        self.assertIn(str(image), self.pruned(self.first))

    def test_a_copy_that_moves_replaces_its_own_note(self) -> None:
        self.taken(self.first)
        shutil.copytree(self.home / "first", self.home / "copy")
        self.taken(self.cache("copy"))
        (self.home / "copy").rename(self.home / "moved")
        image = self.taken(self.cache("moved"), "other")
        notes = self.home.glob("images/users/*/directory*.json")
        places = {Path(json.loads(note.read_text())["path"]).parent.name for note in notes}
        self.assertEqual({"first", "moved"}, places)
        (self.home / "moved" / "instances" / "guest").mkdir()
        self.assertNotIn(str(image), self.pruned(self.first))

    def test_a_lost_owner_comes_from_the_guests_of_the_driver(self) -> None:
        lost = str(uuid.uuid4())
        instances = self.home / "first" / "instances"
        cache = ImageCache(self.conf("first"), lambda: owner.make(instances, lost))
        self.taken(cache)
        self.assertEqual([lost], [path.name for path in self.home.glob("images/users/*")])

    def test_a_restored_directory_keeps_what_its_guests_need(self) -> None:
        image, other = self.taken(self.first), self.taken(self.first, "other")
        disk = self.guest("first", image)
        instances = self.home / "first" / "instances"
        shutil.copytree(instances, self.home / "backup")
        (record,) = self.home.glob("images/users/*")
        for taken in (image, other):
            (record / f"{taken.name}.guest").rename(record / f"{taken.name}.{disk.parent.name}")
        self.set_aside("first")
        (self.home / "first").mkdir()
        (self.home / "backup").rename(instances)
        (record / f"{other.name}.{disk.parent.name}").rename(record / f"{other.name}.guest")
        self.assertEqual([str(other)], self.pruned(self.second))

    def test_the_operator_drops_a_directory_that_is_gone_for_good(self) -> None:
        image = self.taken(self.first)
        (record,) = self.home.glob("images/users/*")
        (record / f"{image.name}.second").touch()  # two guests of one image
        shutil.rmtree(self.home / "first")
        self.assert_kept(image, "has no file")
        shutil.rmtree(record)
        self.assertEqual([str(image)], self.pruned(self.second))

    def test_an_unreadable_guest_keeps_the_images_that_its_directory_took(self) -> None:
        image, other = self.taken(self.first), self.taken(self.second, "other")
        disk = self.guest("first", image)
        disk.unlink()
        disk.symlink_to(disk)  # not even root can read a link to itself
        self.assert_kept(image, f"{disk} cannot be read")
        self.assertFalse(other.exists())

    def test_other_unreadable_directories_do_not_count(self) -> None:
        image = self.taken(self.first)
        lost = self.home / "first" / "instances" / "lost+found"
        lost.mkdir()
        (lost / "x.qcow2").symlink_to(lost / "x.qcow2")
        self.assertEqual([str(image)], self.pruned(self.second))

    def test_a_damaged_record_keeps_the_images(self) -> None:
        image = self.taken(self.first)
        (note,) = self.home.glob("images/users/*/directory.json")
        note.write_text("{")
        self.assert_kept(image, "directory.json cannot be read")

    def test_a_directory_without_guests_keeps_nothing_when_it_is_gone(self) -> None:
        image = self.taken(self.first)
        self.first.release("guest")
        shutil.rmtree(self.home / "first")
        self.assertEqual([str(image)], self.pruned(self.second))

    def test_an_image_that_no_guest_takes_has_no_record(self) -> None:
        self.first.fetch(Image(location=self.source(), format=DiskFormat.RAW))
        self.assertEqual(1, len(self.pruned(self.second)))

    def test_a_guest_from_before_the_records_gets_one(self) -> None:
        image = self.taken(self.first)
        (self.home / "first" / "instances" / "guest").mkdir()
        shutil.rmtree(self.home / "images" / "users")
        self.assertEqual([], self.pruned(self.first, used=(image,)))
        self.assertEqual([], self.pruned(self.second))

    def test_a_guest_of_another_driver_gets_no_record(self) -> None:
        image = self.taken(self.first)
        self.assertEqual([], self.pruned(self.second, used=(image,)))
        self.assertEqual(1, len(list(self.home.glob("images/users/*"))))

    def test_a_damaged_image_of_guests_elsewhere_is_no_leftover(self) -> None:
        image = self.taken(self.first)
        self.guest("first", image)
        image.with_name(f"{image.name}.json").unlink()
        self.assertEqual([], self.second.leftovers(remove=True))
        self.assertTrue(image.exists())

    def test_a_cache_without_room_for_records_gives_no_image_to_guests(self) -> None:
        self.first.fetch(Image(location=self.source(), format=DiskFormat.RAW))
        (self.home / "images" / "users").write_text("")
        with self.assertRaisesRegex(exceptions.HostError, "option image_cache_path"):
            self.taken(self.first)
