# SPDX-License-Identifier: Apache-2.0
"""The sources of images by scheme, and local files as images."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions, plugins
from compute_driver.driver import no_progress
from compute_driver.guest import MIB
from compute_driver.images import http, sources
from tests.image_server import configured


class SourceCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.conf = configured(self.home)
        self.image = self.home / "disk image.raw"
        self.image.write_bytes(b"one" * 1000)
        self.target = self.home / "copy"
        self.source = sources.FileSource(self.conf)


class FindTest(SourceCase):
    def test_paths_and_urls_find_the_source_of_their_scheme(self) -> None:
        wanted = {
            "/srv/a.img": sources.FileSource,
            "a:b/c.img": sources.FileSource,
            "file:///srv/a.img": sources.FileSource,
            "http://host/a.img": http.HttpSource,
            "HTTPS://host/a.img": http.HttpSource,
        }
        found = {location: type(sources.find(location, self.conf)) for location in wanted}
        self.assertEqual(wanted, found)

    def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named(self) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, "file.*http, https") as caught:
            sources.find("ftp://user:secret@host/a.img", self.conf)
        self.assertNotIn("secret", str(caught.exception))

    def test_the_error_of_a_source_that_does_not_load(self) -> None:
        sources._load.cache_clear()
        self.addCleanup(sources._load.cache_clear)
        failure = exceptions.PluginError(sources.NAMESPACE, "http", "broken")
        with (
            mock.patch.object(plugins, "load", side_effect=failure),
            self.assertRaisesRegex(exceptions.PluginError, "broken"),
        ):
            sources.find("http://host/", self.conf)

    def test_credentials_are_not_shown(self) -> None:
        wanted = {
            "https://user:secret@host:8080/a/b.img?token=secret#secret": "https://host:8080/a/b.img",
            "https://us:er@se@host/a@b": "https://host/a@b",
            "https://user:se/cret@host/": "https://...",
            "https://[::1]:80/x": "https://[::1]:80/x",
            "http://[broken": "http://...",
            "/srv/what?.img": "/srv/what?.img",
        }
        self.assertEqual(wanted, {location: sources.shown(location) for location in wanted})


class FileTest(SourceCase):
    def fetched(self, location: str) -> bytes:
        self.source.fetch(location, self.target, no_progress)
        return self.target.read_bytes()

    def test_a_path_or_a_file_url_is_copied(self) -> None:
        quoted = str(self.image).replace(" ", "%20")
        relative = os.path.relpath(self.image)
        for location in (
            str(self.image),
            relative,
            f"file://{quoted}",
            f"file://localhost{quoted}",
        ):
            with self.subTest(location):
                self.assertEqual(self.image.read_bytes(), self.fetched(location))

    def test_file_urls_of_other_hosts_or_without_a_path_are_refused(self) -> None:
        for location in ("file://host/a", "file://", "file:///a?b", "file:///a%00b", "file://["):
            with self.subTest(location), self.assertRaises(exceptions.InvalidParameter):
                self.source.identify(location)

    def test_other_contents_have_another_identity(self) -> None:
        first = self.source.identify(str(self.image))
        self.assertEqual(first, self.source.identify(f"file://{self.image}".replace(" ", "%20")))
        replacement = self.home / "new"
        replacement.write_bytes(self.image.read_bytes())
        status = self.image.stat()
        os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
        replacement.replace(self.image)
        second = self.source.identify(str(self.image))
        self.image.write_bytes(b"two" * 1000)
        third = self.source.identify(str(self.image))
        self.assertEqual(3, len({first, second, third}))

    def test_a_missing_file_is_an_error(self) -> None:
        for location in (str(self.home / "none"), str(self.image / "below")):
            with self.subTest(location):
                self.assertRaises(exceptions.ImageNotFound, self.source.identify, location)
                self.assertRaises(exceptions.ImageNotFound, self.fetched, location)

    def test_only_regular_files_are_images(self) -> None:
        fifo, sock = self.home / "fifo", self.home / "socket"
        os.mkfifo(fifo)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(sock))
            for path in (self.home, fifo, sock, Path("/dev/zero")):
                with (
                    self.subTest(path),
                    self.assertRaisesRegex(exceptions.ImageUnacceptable, "not a regular file"),
                ):
                    self.source.identify(str(path))
            self.assertRaises(exceptions.ImageUnacceptable, self.fetched, str(fifo))
        self.assertFalse(self.target.exists())

    def test_holes_stay_holes_and_data_is_kept(self) -> None:
        with self.image.open("wb") as file:
            file.truncate(64 * MIB)
            file.seek(32 * MIB)
            file.write(b"data in the middle")
        for broken in ((), ("fcntl.ioctl",), ("fcntl.ioctl", "os.copy_file_range")):
            with self.subTest(without=broken):
                self.target.unlink(missing_ok=True)
                with contextlib.ExitStack() as stack:
                    for call in broken:
                        stack.enter_context(mock.patch(call, side_effect=OSError))
                    self.source.fetch(str(self.image), self.target, no_progress)
                self.assertEqual(self.image.read_bytes(), self.target.read_bytes())
                self.assertLess(self.target.stat().st_blocks * 512, MIB)

    def test_progress_ends_with_all_bytes(self) -> None:
        seen: list[tuple[str, int, int]] = []
        self.source.fetch(str(self.image), self.target, lambda *what: seen.append(what))
        self.assertEqual(("copying disk image.raw", 3000, 3000), seen[-1])

    def test_a_file_that_changes_meanwhile_is_not_used(self) -> None:
        def meddle(what: str, done: int, total: int) -> None:
            self.image.write_bytes(b"two" * 1001)

        with self.assertRaisesRegex(exceptions.ImageFetchFailed, "changed"):
            self.source.fetch(str(self.image), self.target, meddle)
        self.assertFalse(self.target.exists())
