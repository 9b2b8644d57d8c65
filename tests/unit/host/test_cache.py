# SPDX-License-Identifier: Apache-2.0
"""Facts about the host are kept as long as the host stays the same."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from compute_driver.host.cache import Cache


@dataclasses.dataclass(frozen=True)
class Part:
    name: str


@dataclasses.dataclass(frozen=True)
class Fact:
    number: int
    parts: tuple[Part, ...]


class CacheTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.directory = Path(place.name, "state", "detection")
        self.find_out = mock.Mock(side_effect=["first", "second", "third"])

    def get(self, cache: Cache, fingerprint: object = 1) -> object:
        return cache.get("fact", fingerprint, str, self.find_out)

    def test_a_fact_is_found_out_once(self) -> None:
        cache = Cache(self.directory)
        self.assertEqual(["first", "first"], [self.get(cache), self.get(cache)])
        self.assertEqual("first", self.get(Cache(self.directory)))

    def test_another_fingerprint_is_another_fact(self) -> None:
        cache = Cache(self.directory)
        self.get(cache)
        self.assertEqual("second", self.get(cache, [1, "x"]))
        self.assertEqual("second", self.get(Cache(self.directory), [1, "x"]))
        self.assertEqual("third", self.get(cache, 1))

    def test_a_fact_that_no_longer_holds_is_found_out_again(self) -> None:
        cache = Cache(self.directory)
        self.get(cache)
        again = cache.get("fact", 1, str, self.find_out, holds=lambda fact: fact != "first")
        self.assertEqual("second", again)

    def test_a_damaged_file_is_replaced(self) -> None:
        self.get(Cache(self.directory))
        right = json.loads((self.directory / "fact.json").read_text())[0][0]
        wrong = ([[right, fact]] for fact in (None, 1, [], {}))
        texts = ("", "{", "[]", "{}", '"x"', "null", "[1]", "[[]]", "[" * 100_000, "\0\xff")
        for text in (*texts, *map(json.dumps, wrong)):
            with self.subTest(text):
                self.find_out.side_effect = None
                self.find_out.return_value = text
                (self.directory / "fact.json").write_text(text)
                self.assertEqual(text, self.get(Cache(self.directory)))
                self.assertEqual(text, self.get(Cache(self.directory)))

    def test_without_a_directory_facts_are_found_out_again(self) -> None:
        self.directory.parent.mkdir()
        self.directory.write_text("in the way")
        cache = Cache(self.directory)
        self.assertEqual(["first", "first"], [self.get(cache), self.get(cache)])

    def test_without_a_file_facts_are_found_out_again(self) -> None:
        with mock.patch.object(Path, "write_text", side_effect=OSError(28, "No space left")):
            self.assertEqual("first", self.get(Cache(self.directory)))
        self.assertEqual([], os.listdir(self.directory))

    def test_failures_are_not_kept(self) -> None:
        self.find_out.side_effect = [ValueError, "second"]
        cache = Cache(self.directory)
        with self.assertRaises(ValueError):
            self.get(cache)
        self.assertEqual("second", self.get(cache))

    def test_simultaneous_threads_find_a_fact_out_once(self) -> None:
        started = threading.Barrier(4)
        cache = Cache(self.directory)
        found = []

        def ask() -> None:
            started.wait(10)
            found.append(self.get(cache))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        self.assertEqual(["first"] * 4, found)

    def test_facts_have_types(self) -> None:
        fact = Fact(number=1, parts=(Part(name="x"),))
        find_out = mock.Mock(return_value=fact)
        for _ in range(2):
            self.assertEqual(fact, Cache(self.directory).get("fact", 1, Fact, find_out))
        find_out.assert_called_once()
        path = self.directory / "fact.json"
        good = path.read_text()
        for old, new in (
            ('"name"', '"nome"'),
            ('"x"', "null"),
            ('"number": 1', '"number": "1"'),
            ('[{"', '{"'),
        ):
            with self.subTest(new):
                path.write_text(good.replace(old, new))
                self.assertEqual(fact, Cache(self.directory).get("fact", 1, Fact, find_out))

    def test_the_newest_facts_are_kept(self) -> None:
        find_out = mock.Mock(side_effect=str)
        for number in (*range(6), 5, 4, 3):
            Cache(self.directory).get("fact", number, str, lambda n=number: find_out(n), most=3)
        self.assertEqual(6, find_out.call_count)
        Cache(self.directory).get("fact", 0, str, lambda: find_out(0), most=3)
        self.assertEqual(7, find_out.call_count)
        self.assertEqual(["fact.json"], os.listdir(self.directory))
        self.assertEqual(3, len(json.loads((self.directory / "fact.json").read_text())))

    def test_a_fact_of_another_process_is_used(self) -> None:
        first, second = Cache(self.directory), Cache(self.directory)
        self.get(first)
        self.get(second, 2)
        self.assertEqual("second", self.get(first, 2))

    def test_only_regular_files_are_read(self) -> None:
        self.get(Cache(self.directory))
        path = self.directory / "fact.json"
        path.rename(self.directory / "other")
        path.symlink_to("other")
        self.assertEqual("second", self.get(Cache(self.directory)))
        self.assertFalse(path.is_symlink())
        path.unlink()
        os.mkfifo(path)
        self.assertEqual("third", self.get(Cache(self.directory)))

    @unittest.skipIf(os.geteuid(), "needs root, who can give files away")
    def test_root_reads_no_files_of_ordinary_users(self) -> None:
        self.get(Cache(self.directory))
        os.chown(self.directory / "fact.json", 65534, 65534)
        self.assertEqual("second", self.get(Cache(self.directory)))

    def test_other_users_cannot_read_the_files(self) -> None:
        self.get(Cache(self.directory))
        self.assertEqual(0o700, self.directory.stat().st_mode & 0o777)
