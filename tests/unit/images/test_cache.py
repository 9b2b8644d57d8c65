# SPDX-License-Identifier: Apache-2.0
"""The images that a prune of the cache removes, and the images that stay."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import unittest
from collections.abc import Collection, Mapping
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import Image
from compute_driver.images.cache import ImageCache
from compute_driver.images.entry import Entry
from compute_driver.system import concurrency
from tests.image_server import ImageServer
from tests.unit import base

DAY = 86400.0


class PruneTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        state = str(self.home / "state")
        self.cache = ImageCache(base.configuration(state_path=state))
        self.source = self.home / "vmlinuz"
        self.source.write_bytes(b"a kernel")
        self.image = Image(location=str(self.source))

    def age(self, path: Path, seconds: float) -> None:
        when = time.time() - seconds
        os.utime(path.with_name(f"{path.name}.json"), (when, when))

    def pruned(self, min_age: float = 0, used: Collection[Path] = ()) -> list[str]:
        users = dict.fromkeys(used, ("somebody",))
        return [entry.path for entry in self.cache.prune(min_age, lambda: users)]

    def test_fetched_images_are_listed(self) -> None:
        self.assertTrue(self.cache.fetch(self.image, boot=True))
        self.assertFalse(self.cache.fetch(self.image, boot=True))
        (entry,) = self.cache.entries()
        self.assertEqual((str(self.source), "raw"), (entry.source, entry.format))
        self.assertLess(time.time() - entry.used_at, 60)

    def test_page_of_a_proxy_is_no_kernel(self) -> None:
        self.source.write_bytes(b"\r\n<!DOCTYPE html><title>Sign in</title>")
        with self.assertRaisesRegex(exceptions.ImageUnacceptable, "sign-in page.*a kernel"):
            self.cache.get_file(self.image)
        self.assertEqual([], self.cache.leftovers())

    def test_an_image_without_identity_is_not_fetched_ahead(self) -> None:
        server = ImageServer(b"an image")
        self.addCleanup(server.close)
        server.headers = {}
        with self.assertRaises(exceptions.InvalidParameter):
            self.cache.fetch(Image(location=server.url))

    def test_only_old_and_unused_images_go(self) -> None:
        path = self.cache.get_file(self.image)
        self.assertEqual([], self.pruned(DAY))
        self.age(path, 2 * DAY)
        self.assertEqual([], self.pruned(DAY, used=[path]))
        # A guest used the image just now.
        self.assertEqual([], self.pruned(DAY))
        self.age(path, 2 * DAY)
        self.assertEqual([str(path)], self.pruned(DAY))
        self.assertEqual([], self.cache.entries())
        self.assertTrue(self.cache.fetch(self.image, boot=True))

    def test_an_image_of_a_clock_that_was_ahead_goes_in_its_time(self) -> None:
        path = self.cache.get_file(self.image)
        self.age(path, -1000 * DAY)
        self.assertEqual([], self.pruned(DAY))
        self.assertLess(abs(time.time() - self.cache.entries()[0].used_at), 60)
        self.age(path, -1000 * DAY)
        self.assertEqual([str(path)], self.pruned())

    def test_a_second_request_makes_an_image_young(self) -> None:
        self.age(self.cache.get_file(self.image), 2 * DAY)
        self.cache.get_file(self.image)
        self.assertEqual([], self.pruned(DAY))

    def test_a_file_that_a_guest_has_by_another_name_stays(self) -> None:
        path = self.cache.get_file(self.image)
        os.link(path, self.home / "kernel")
        self.assertEqual([], self.pruned())
        (self.home / "kernel").unlink()
        self.assertEqual([str(path)], self.pruned())

    def test_an_image_in_use_by_this_process_stays(self) -> None:
        with self.cache.holding("guest"):
            path = self.cache.get_file(self.image)
            self.assertEqual([], self.pruned())
            self.assertTrue(path.exists())
        self.assertEqual([str(path)], self.pruned())

    def test_a_request_during_the_removal_fetches_the_image_again(self) -> None:
        path = self.cache.get_file(self.image)
        asked, answered, found = threading.Event(), threading.Event(), []

        def ask() -> None:
            with self.cache.holding("guest"):
                asked.set()
                found.append(self.cache.get_file(self.image))
            answered.set()

        asker = threading.Thread(target=ask)

        def users() -> Mapping[Path, Collection[str]]:
            asker.start()
            asked.wait()
            self.assertFalse(answered.wait(0.2))  # the request waits for the lock
            return {}

        removed = self.cache.prune(0, users)
        asker.join(10)
        self.assertEqual(([str(path)], [path]), ([entry.path for entry in removed], found))
        self.assertEqual(b"a kernel", path.read_bytes())

    def test_a_fetch_during_the_removal_keeps_the_image(self) -> None:
        path = self.cache.get_file(self.image)
        forget, fetched = Entry.forget, threading.Event()

        def fetch() -> None:
            with self.cache.holding("guest"):
                self.cache.get_file(self.image)
            fetched.set()

        fetcher = threading.Thread(target=fetch)

        def forget_slowly(entry: Entry) -> None:
            forget(entry)
            fetcher.start()
            self.assertFalse(fetched.wait(0.2))

        with mock.patch.object(Entry, "forget", forget_slowly):
            self.assertEqual([str(path)], self.pruned())
        fetcher.join(10)
        self.assertEqual(b"a kernel", path.read_bytes())

    def test_an_image_that_is_being_made_again_stays(self) -> None:
        path = self.cache.get_file(self.image)
        with concurrency.try_lock(path.parent / "locks" / path.name) as held:
            self.assertIsNotNone(held)
            self.assertEqual([], self.pruned())
        self.assertEqual([str(path)], self.pruned())

    def test_any_number_of_requests_may_wait_for_a_removal(self) -> None:
        path = self.cache.get_file(self.image)
        waiters = 30  # eventlet has 20 native threads
        asked = threading.Semaphore(0)

        def ask() -> None:
            with self.cache.holding("guest"):
                asked.release()
                self.cache.get_file(self.image)

        askers = [threading.Thread(target=ask) for _ in range(waiters)]

        def users() -> Mapping[Path, Collection[str]]:
            for asker in askers:
                asker.start()
            for _ in askers:
                asked.acquire()
            deadline = time.monotonic() + 5
            answered = concurrency.within(deadline, concurrency.run_blocking, path.stat)
            self.assertTrue(answered, "libvirt would not have been asked")
            return {path: ("somebody",)}

        self.assertEqual([], self.cache.prune(0, users))
        for asker in askers:
            asker.join(10)
        self.assertTrue(path.exists())

    def test_an_image_without_its_record_is_no_image(self) -> None:
        path = self.cache.get_file(self.image)
        path.with_name(f"{path.name}.json").unlink()
        self.assertEqual([], self.cache.entries())
        self.assertEqual([path], self.cache.leftovers())
        self.assertEqual([], self.cache.leftovers({path}))
        self.assertTrue(self.cache.fetch(self.image, boot=True))
