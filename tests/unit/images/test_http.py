# SPDX-License-Identifier: Apache-2.0
"""Images by HTTP, from a server that fails in every way it can."""

from __future__ import annotations

import os
import tempfile
import traceback
import unittest
from pathlib import Path
from unittest import mock

import tenacity

from compute_driver import exceptions
from compute_driver.driver import no_progress
from compute_driver.images.http import HttpSource
from tests.image_server import ImageServer, configured

CONTENT = os.urandom(3_000_001)
CUT = 20 * 65536  # what has come is kept in pieces of this size


class HttpCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.server = ImageServer(CONTENT)
        self.addCleanup(self.server.close)
        self.target = self.home / "disk.part"
        patch = mock.patch("compute_driver.images.http.PAUSE", tenacity.wait_none())
        patch.start()
        self.addCleanup(patch.stop)

    def source(self, **options: object) -> HttpSource:
        return HttpSource(configured(self.home, **options))

    def fetch(self, **options: object) -> bytes:
        self.source(**options).fetch(self.server.url, self.target, no_progress)
        self.assertEqual(["disk.part"], os.listdir(self.home))
        return self.target.read_bytes()

    def ranges(self) -> list[str | None]:
        return [request.range for request in self.server.gets()]


class FetchTest(HttpCase):
    def test_all_bytes_come_and_are_reported(self) -> None:
        seen: list[tuple[str, int, int]] = []
        self.source().fetch(self.server.url, self.target, lambda *what: seen.append(what))
        self.assertEqual(CONTENT, self.target.read_bytes())
        self.assertEqual(("fetching disk.img", len(CONTENT), len(CONTENT)), seen[-1])

    def test_a_length_that_is_not_told_is_no_obstacle_to_what_is_verified(self) -> None:
        self.server.says_length = False
        self.source().fetch(self.server.url, self.target, no_progress, verified=True)
        self.assertEqual(CONTENT, self.target.read_bytes())

    def test_a_length_that_is_not_told_demands_a_checksum(self) -> None:
        self.server.says_length = False
        self.server.cuts = [CUT]
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "give the image's checksum"):
            self.source().fetch(self.server.url, self.target, no_progress)
        self.assertEqual([], os.listdir(self.home))
        self.assertEqual(1, len(self.server.requests))

    def test_chunks_tell_their_end(self) -> None:
        self.server.chunked = True
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(2, len(self.server.requests))

    def test_a_server_that_compresses_on_its_own_is_refused(self) -> None:
        self.server.headers["Content-Encoding"] = "gzip"
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "gzip"):
            self.source().fetch(self.server.url, self.target, no_progress)
        self.assertEqual([], os.listdir(self.home))

    def test_too_little_space_is_told_before_the_first_byte(self) -> None:
        usage = mock.Mock(free=1000)
        with (
            mock.patch("shutil.disk_usage", return_value=usage),
            self.assertRaisesRegex(exceptions.NotEnoughSpace, f"{len(CONTENT)} bytes are needed"),
        ):
            self.source().fetch(self.server.url, self.target, no_progress)
        self.assertEqual([], os.listdir(self.home))


class InterruptionTest(HttpCase):
    def test_a_cut_transfer_goes_on_where_it_ended(self) -> None:
        self.server.cuts = [CUT, 65536]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual([None, f"bytes={CUT}-", f"bytes={CUT + 65536}-"], self.ranges())
        self.assertEqual('"one"', self.server.gets()[1].if_range)

    def test_a_server_that_ignores_ranges_is_asked_for_all_again(self) -> None:
        self.server.ranges = False
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())

    def test_an_image_that_changes_meanwhile_is_had_whole(self) -> None:
        changed = CONTENT[::-1]

        def meddle(what: str, done: int, total: int) -> None:
            self.server.content = changed
            self.server.headers["ETag"] = '"two"'

        self.server.headers.pop("Last-Modified")
        self.server.cuts = [CUT]
        self.source().fetch(self.server.url, self.target, meddle)
        self.assertEqual(changed, self.target.read_bytes())

    def test_without_a_strong_etag_the_date_vouches_for_the_bytes(self) -> None:
        self.server.headers["ETag"] = 'W/"weak"'
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(self.server.headers["Last-Modified"], self.server.gets()[1].if_range)

    def test_without_a_validator_it_starts_over(self) -> None:
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual([None, None], self.ranges())

    def test_a_silent_server_is_left_after_the_timeout(self) -> None:
        self.server.gate.clear()
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "no byte came within"):
            self.fetch(image_fetch_timeout=1.0, image_fetch_retries=0)
        self.server.gate.set()
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(f"bytes={len(CONTENT) // 2 // 65536 * 65536}-", self.ranges()[1])

    def test_a_passing_error_of_the_server_is_tried_again(self) -> None:
        self.server.statuses = [503, 500, 429]
        self.assertEqual(CONTENT, self.fetch())

    def test_retries_end(self) -> None:
        self.server.statuses = [500] * 9
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, r"answered 500.*tried 3 times"):
            self.fetch(image_fetch_retries=2)
        self.assertEqual(3, len(self.server.requests))

    def test_another_process_goes_on_where_an_earlier_one_gave_up(self) -> None:
        self.server.cuts = [CUT]
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "connection ended"):
            self.fetch(image_fetch_retries=0)
        self.assertEqual(CUT, self.target.stat().st_size)
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=0))
        self.assertEqual([None, f"bytes={CUT}-"], self.ranges())

    def test_what_cannot_be_continued_is_not_kept(self) -> None:
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertRaises(exceptions.ImageFetchFailed, self.fetch, image_fetch_retries=0)
        self.assertEqual([], os.listdir(self.home))

    def left(self, content: bytes) -> None:
        self.target.write_bytes(content)
        self.target.with_name("disk.part.validator").write_text('"one"')

    def test_a_partial_file_that_is_whole_needs_no_more_bytes(self) -> None:
        self.left(CONTENT)
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=0))

    def test_a_partial_file_that_is_too_long_is_given_up(self) -> None:
        self.left(CONTENT + b"more")
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=1))

    def test_an_image_that_vanishes_leaves_no_partial_file(self) -> None:
        self.left(CONTENT[:CUT])
        self.server.statuses = [404]
        self.assertRaises(exceptions.ImageNotFound, self.fetch)
        self.assertEqual([], os.listdir(self.home))


class IdentityTest(HttpCase):
    def test_each_validator_tells_contents_apart(self) -> None:
        seen = {self.source().identify(self.server.url)}
        self.server.headers["ETag"] = '"two"'
        seen.add(self.source().identify(self.server.url))
        self.server.headers["Last-Modified"] = "Tue, 02 Jan 2024 00:00:00 GMT"
        seen.add(self.source().identify(self.server.url))
        self.server.content += b"more"
        seen.add(self.source().identify(self.server.url))
        self.assertEqual(4, len(seen))
        self.assertEqual([], self.server.gets())

    def test_a_length_alone_tells_nothing(self) -> None:
        self.server.headers.clear()
        self.assertIsNone(self.source().identify(self.server.url))

    def test_a_server_without_head_is_asked_by_get(self) -> None:
        wanted = self.source().identify(self.server.url)
        for status in (403, 405, 501):
            self.server.no_head = status
            self.assertEqual(wanted, self.source().identify(self.server.url))

    def test_what_is_gone_is_not_found_and_not_asked_for_again(self) -> None:
        for status in (404, 410):
            self.server.statuses = [status]
            self.assertRaises(exceptions.ImageNotFound, self.source().identify, self.server.url)
        self.assertEqual(2, len(self.server.requests))

    def test_a_url_that_is_none_is_refused(self) -> None:
        for url in ("http://", "http://[broken", "http://host:port/x"):
            with self.subTest(url), self.assertRaises(exceptions.InvalidParameter):
                self.source(image_fetch_retries=0).identify(url)


class CredentialsTest(HttpCase):
    def test_credentials_of_the_url_are_used(self) -> None:
        url = self.server.url.replace("http://", "http://user:secret@")
        self.source().fetch(url, self.target, no_progress)
        self.assertEqual("Basic dXNlcjpzZWNyZXQ=", self.server.gets()[0].authorization)

    def test_credentials_are_in_no_error_nor_traceback(self) -> None:
        here = f"http://user:secret@{self.server.address}/x?sig=secret"
        nowhere = "http://user:secret@127.0.0.1:1/x?sig=secret"
        cases = [(here, [404]), (here, [500]), (here, [401]), (nowhere, [])]
        for url, statuses in cases:
            with self.subTest(url=url, statuses=statuses):
                self.server.statuses = list(statuses)
                with self.assertRaises(exceptions.ImageError) as caught:
                    self.source(image_fetch_retries=0).identify(url)
                shown = "".join(traceback.format_exception(caught.exception))
                self.assertNotIn("secret", str(caught.exception))
                self.assertNotIn("sig=secret", shown)

    def test_the_systems_reason_is_told(self) -> None:
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "(?i)conn(ection ?)?refused"):
            self.source(image_fetch_retries=0).identify("http://127.0.0.1:1/x")
