# SPDX-License-Identifier: Apache-2.0
"""Images by HTTP, from a server with faults of all kinds."""

from __future__ import annotations

import email.utils
import gzip
import os
import tempfile
import time
import traceback
import unittest
from pathlib import Path
from unittest import mock

import requests
import tenacity

from compute_driver import exceptions
from compute_driver.driver import no_progress
from compute_driver.images import http
from compute_driver.images.http import HttpSource
from tests.image_server import ImageServer, configured

CONTENT = os.urandom(3_000_001)
CUT = 20 * 65536  # received bytes are stored in pieces of this size


OLD = "Mon, 01 Jan 2024 00:00:00 GMT"


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
    def test_all_bytes_arrive_and_are_reported(self) -> None:
        seen: list[tuple[str, int, int]] = []
        self.source().fetch(self.server.url, self.target, lambda *what: seen.append(what))
        self.assertEqual(CONTENT, self.target.read_bytes())
        self.assertEqual(("fetching disk.img", len(CONTENT), len(CONTENT)), seen[-1])

    def test_a_verified_image_needs_no_length(self) -> None:
        self.server.says_length = False
        self.source().fetch(self.server.url, self.target, no_progress, verified=True)
        self.assertEqual(CONTENT, self.target.read_bytes())

    def test_an_image_without_length_needs_a_checksum(self) -> None:
        self.server.says_length = False
        self.server.cuts = [CUT]
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "give the image's checksum"):
            self.source().fetch(self.server.url, self.target, no_progress)
        self.assertEqual([], os.listdir(self.home))
        self.assertEqual(1, len(self.server.requests))

    def test_chunked_transfers_need_no_length(self) -> None:
        self.server.chunked = True
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(2, len(self.server.requests))

    def test_a_length_that_is_no_number_is_none(self) -> None:
        self.server.says_length = False
        self.server.headers["Content-Length"] = "unknown"
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "give the image's checksum"):
            self.source().fetch(self.server.url, self.target, no_progress)

    def test_too_little_space_is_an_error_before_the_first_byte(self) -> None:
        usage = mock.Mock(free=1000)
        with (
            mock.patch("shutil.disk_usage", return_value=usage),
            self.assertRaisesRegex(exceptions.NotEnoughSpace, f"{len(CONTENT)} bytes are needed"),
        ):
            self.source().fetch(self.server.url, self.target, no_progress)
        self.assertEqual([], os.listdir(self.home))


class CodingTest(HttpCase):
    """Servers that send a coding although nobody asks for one."""

    def fetch_coded(self, coding: str, path: str = "/disk.img", **options: object) -> bytes:
        self.server.headers["Content-Encoding"] = coding
        url = self.server.url.replace("/images/disk.img", path)
        self.source(**options).fetch(url, self.target, no_progress)
        self.assertEqual(["disk.part"], os.listdir(self.home))
        return self.target.read_bytes()

    def test_an_object_that_was_stored_compressed_is_decoded(self) -> None:
        for coding in ("gzip", "X-GZip", "aws-chunked, gzip"):
            self.server.content = gzip.compress(CONTENT, 0)
            self.assertEqual(CONTENT, self.fetch_coded(coding))

    def test_a_file_that_is_compressed_by_its_name_stays_so(self) -> None:
        self.server.content = gzip.compress(CONTENT, 0)
        for path in ("/disk.raw.gz", "/disk.tar.GZ?x=y", "/disk.tgz"):
            self.assertEqual(self.server.content, self.fetch_coded("gzip", path))

    def test_a_coding_that_is_not_there_is_left_out(self) -> None:
        for coding in ("gzip", "identity", "aws-chunked", ""):
            self.assertEqual(CONTENT, self.fetch_coded(coding))

    def test_a_coded_transfer_goes_on_where_it_ended(self) -> None:
        self.server.content = gzip.compress(CONTENT, 0)
        self.server.cuts = [CUT]
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch_coded("gzip", image_fetch_retries=0)
        self.assertEqual(CONTENT, self.fetch_coded("gzip"))
        self.assertEqual([None, f"bytes={CUT}-"], self.ranges())

    def test_a_damaged_coding_leaves_nothing(self) -> None:
        self.server.content = gzip.compress(CONTENT, 0)[:-1]
        with self.assertRaisesRegex(exceptions.ImageUnacceptable, "gzip compression has no end"):
            self.fetch_coded("gzip")
        self.assertEqual([], os.listdir(self.home))

    def test_other_codings_are_refused(self) -> None:
        for coding in ("br", "deflate", "zstd", "gzip, gzip", "compress"):
            with self.assertRaisesRegex(exceptions.ImageFetchFailed, f"coding '{coding[:4]}"):
                self.fetch_coded(coding)
            self.assertEqual([], os.listdir(self.home))


class RedirectTest(HttpCase):
    def test_the_image_is_taken_from_another_host_without_the_credentials(self) -> None:
        other = ImageServer(CONTENT)
        self.addCleanup(other.close)
        self.server.statuses = [302]
        self.server.headers["Location"] = other.url.replace("127.0.0.1", "localhost")
        url = self.server.url.replace("http://", "http://user:secret@")
        self.source().fetch(url, self.target, no_progress)
        self.assertEqual(CONTENT, self.target.read_bytes())
        self.assertIsNotNone(self.server.gets()[0].authorization)
        self.assertIsNone(other.gets()[0].authorization)

    def test_other_schemes_are_refused(self) -> None:
        for location in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
            self.server.statuses = [302]
            self.server.headers["Location"] = location
            with self.assertRaisesRegex(exceptions.ImageFetchFailed, "that is not HTTP"):
                self.source().fetch(self.server.url, self.target, no_progress)

    def test_a_circle_ends(self) -> None:
        self.server.statuses = [302] * 400  # more than all attempts follow
        self.server.headers["Location"] = self.server.url
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.source().fetch(self.server.url, self.target, no_progress)

    def test_only_a_checksum_lets_a_redirect_leave_https(self) -> None:
        answer = requests.Response()
        answer.status_code, answer.url = 200, "http://mirror/disk.img"
        answer.headers["Content-Length"] = "10"
        reason = "from HTTPS to HTTP.*checksum"
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, reason):
            http.check_trust("https://host/disk.img", answer, 10)
        hop = requests.Response()
        hop.url = "https://other/disk.img"
        answer.history = [hop]
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, reason):
            http.check_trust("http://host/disk.img", answer, 10)
        answer.url = "HTTPS://mirror/disk.img"
        http.check_trust("http://host/disk.img", answer, 10)


class InterruptionTest(HttpCase):
    def test_an_interrupted_transfer_is_continued(self) -> None:
        self.server.cuts = [CUT, 65536]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual([None, f"bytes={CUT}-", f"bytes={CUT + 65536}-"], self.ranges())
        self.assertEqual('"one"', self.server.gets()[1].if_range)

    def test_a_server_that_ignores_ranges_sends_all_bytes_again(self) -> None:
        self.server.ranges = False
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())

    def test_an_image_that_changes_meanwhile_is_fetched_again(self) -> None:
        changed = CONTENT[::-1]

        def meddle(what: str, done: int, total: int) -> None:
            self.server.content = changed
            self.server.headers["ETag"] = '"two"'

        self.server.headers.pop("Last-Modified")
        self.server.cuts = [CUT]
        self.source().fetch(self.server.url, self.target, meddle)
        self.assertEqual(changed, self.target.read_bytes())

    def test_without_a_strong_etag_the_date_identifies_the_bytes(self) -> None:
        self.server.headers["ETag"] = 'W/"weak"'
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(self.server.headers["Last-Modified"], self.server.gets()[1].if_range)

    def test_a_date_that_may_cover_a_later_change_does_not_vouch(self) -> None:
        del self.server.headers["ETag"]
        for ahead in (0, 3600):
            self.server.requests.clear()
            now = email.utils.formatdate(time.time() + ahead, usegmt=True)
            self.server.headers |= {"Last-Modified": now, "Date": now}
            if ahead:
                del self.server.headers["Date"]  # the server's own is earlier
            self.server.cuts = [CUT]
            self.assertEqual(CONTENT, self.fetch())
            self.assertEqual([None, None], self.ranges())
        self.server.headers["Last-Modified"] = "yesterday"
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())

    def test_parts_of_two_images_are_not_mixed(self) -> None:
        """Proxies that ignore If-Range send the end of a changed image."""
        changed = CONTENT[::-1]
        for kept in ("ETag", "Last-Modified"):
            self.server.content = CONTENT
            self.server.headers = {"ETag": '"one"', "Last-Modified": OLD}
            self.server.headers = {kept: self.server.headers[kept]}
            self.server.checks_if_range = False

            def meddle(what: str, done: int, total: int, kept: str = kept) -> None:
                self.server.content = changed
                self.server.headers[kept] = {"ETag": '"two"'}.get(kept, OLD.replace("2024", "2023"))

            self.server.cuts = [CUT]
            self.source().fetch(self.server.url, self.target, meddle)
            self.assertEqual(changed, self.target.read_bytes())

    def test_a_part_without_its_date_continues(self) -> None:
        del self.server.headers["ETag"]
        self.server.cuts = [CUT]
        self.server.checks_if_range = False
        forget = lambda *what: self.server.headers.clear()  # noqa: E731
        self.source().fetch(self.server.url, self.target, forget)
        self.assertEqual((CONTENT, 2), (self.target.read_bytes(), len(self.server.gets())))
        self.assertEqual(f"bytes={CUT}-", self.ranges()[1])

    def test_a_part_that_begins_earlier_is_used(self) -> None:
        self.server.align = 1_000_000
        self.server.cuts = [CUT, 70_000]
        self.assertEqual(CONTENT, self.fetch())

    def test_without_a_validator_the_transfer_starts_again(self) -> None:
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual([None, None], self.ranges())

    def test_a_silent_server_is_given_up_after_the_timeout(self) -> None:
        self.server.gate.clear()
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "no byte came within"):
            self.fetch(image_fetch_timeout=1.0, image_fetch_retries=0)
        self.server.gate.set()
        self.assertEqual(CONTENT, self.fetch())
        self.assertEqual(f"bytes={len(CONTENT) // 2 // 65536 * 65536}-", self.ranges()[1])

    def test_a_passing_error_of_the_server_causes_a_retry(self) -> None:
        self.server.statuses = [503, 500, 429]
        self.assertEqual(CONTENT, self.fetch())

    def test_retries_end(self) -> None:
        self.server.statuses = [500] * 9
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, r"answered 500.*tried 3 times"):
            self.fetch(image_fetch_retries=2)
        self.assertEqual(3, len(self.server.requests))

    def test_another_process_continues_a_transfer(self) -> None:
        self.server.cuts = [CUT]
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "connection ended"):
            self.fetch(image_fetch_retries=0)
        self.assertEqual(CUT, self.target.stat().st_size)
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=0))
        self.assertEqual([None, f"bytes={CUT}-"], self.ranges())

    def test_bytes_that_cannot_be_continued_are_not_kept(self) -> None:
        self.server.headers.clear()
        self.server.cuts = [CUT]
        self.assertRaises(exceptions.ImageFetchFailed, self.fetch, image_fetch_retries=0)
        self.assertEqual([], os.listdir(self.home))

    def left(self, content: bytes) -> None:
        self.target.write_bytes(content)
        self.target.with_name("disk.part.validator").write_text('"one"')

    def test_a_complete_partial_file_needs_no_more_bytes(self) -> None:
        self.left(CONTENT)
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=0))

    def test_a_partial_file_that_is_too_long_is_removed(self) -> None:
        self.left(CONTENT + b"more")
        self.assertEqual(CONTENT, self.fetch(image_fetch_retries=1))

    def test_an_image_that_vanishes_leaves_no_partial_file(self) -> None:
        self.left(CONTENT[:CUT])
        self.server.statuses = [404]
        self.assertRaises(exceptions.ImageNotFound, self.fetch)
        self.assertEqual([], os.listdir(self.home))


class IdentityTest(HttpCase):
    def test_each_validator_distinguishes_contents(self) -> None:
        seen = {self.source().identify(self.server.url)}
        self.server.headers["ETag"] = '"two"'
        seen.add(self.source().identify(self.server.url))
        self.server.headers["Last-Modified"] = "Tue, 02 Jan 2024 00:00:00 GMT"
        seen.add(self.source().identify(self.server.url))
        self.server.content += b"more"
        seen.add(self.source().identify(self.server.url))
        self.assertEqual(4, len(seen))
        self.assertEqual([], self.server.gets())

    def test_a_length_alone_is_no_identity(self) -> None:
        self.server.headers.clear()
        self.assertIsNone(self.source().identify(self.server.url))

    def test_a_server_without_head_is_asked_by_get(self) -> None:
        wanted = self.source().identify(self.server.url)
        for status in (400, 401, 403, 405, 429, 500, 501, 503):
            self.server.no_head = status
            self.assertEqual(wanted, self.source().identify(self.server.url))

    def test_a_new_signature_makes_no_other_image(self) -> None:
        pairs = {
            "x=1&X-Amz-Date=1&X-Amz-Signature=a": "x=1&X-Amz-Date=2&X-Amz-Signature=b",
            "AWSAccessKeyId=k&Signature=a&Expires=1": "AWSAccessKeyId=k&Signature=b&Expires=2",
            "X-Goog-Date=1&X-Goog-Signature=a": "X-Goog-Date=2&X-Goog-Signature=b",
            "sv=1&se=1&sr=b&sig=a": "sv=1&se=2&sr=b&sig=b",
            "temp_url_sig=a&temp_url_expires=1": "temp_url_sig=b&temp_url_expires=2",
        }
        for first, second in pairs.items():
            one, two = (self.source().identify(f"{self.server.url}?{q}") for q in (first, second))
            self.assertEqual(one, two)
            version = self.source().identify(f"{self.server.url}?{first}&versionId=2")
            self.assertNotEqual(one, version)
        one, two = (self.source().identify(f"{self.server.url}?sv={n}") for n in (1, 2))
        self.assertNotEqual(one, two)

    def test_an_answer_that_is_no_image_is_an_error(self) -> None:
        for status in (203, 204, 304, 407, 511):
            self.server.statuses = [status] * 2
            with self.assertRaisesRegex(exceptions.ImageFetchFailed, f"answered {status}"):
                self.source(image_fetch_retries=0).identify(self.server.url)

    def test_a_missing_image_causes_no_retry(self) -> None:
        for status in (404, 410):
            self.server.statuses = [status]
            self.assertRaises(exceptions.ImageNotFound, self.source().identify, self.server.url)
        self.assertEqual(2, len(self.server.requests))

    def test_an_invalid_url_is_refused(self) -> None:
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
        cases = [(here, [404]), (here, [500] * 2), (here, [401] * 2), (nowhere, [])]
        for url, statuses in cases:
            with self.subTest(url=url, statuses=statuses):
                self.server.statuses = list(statuses)
                with self.assertRaises(exceptions.ImageError) as caught:
                    self.source(image_fetch_retries=0).identify(url)
                shown = "".join(traceback.format_exception(caught.exception))
                self.assertNotIn("secret", str(caught.exception))
                self.assertNotIn("sig=secret", shown)

    def test_the_error_has_the_reason_of_the_system(self) -> None:
        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "(?i)conn(ection ?)?refused"):
            self.source(image_fetch_retries=0).identify("http://127.0.0.1:1/x")
