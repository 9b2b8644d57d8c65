# SPDX-License-Identifier: Apache-2.0
"""The verbs on the cache of images."""

from __future__ import annotations

from compute_driver.choices import DiskFormat
from tests.unit.cmd.base import CommandLineCase


class ImagesTest(CommandLineCase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.file("disk.img", b"bytes")

    def test_fetched_once_listed_and_removed(self) -> None:
        cache = ("image", "cache", self.image, "--image-format", "qcow2")
        self.assertEqual("fetched", self.done(*cache).out.strip())
        self.assertEqual("in the cache already", self.done(*cache).out.strip())
        (row,) = self.done("image", "list", "-f", "json").json
        self.assertEqual((self.image, "qcow2", []), (row["Source"], row["Format"], row["Guests"]))
        self.assertEqual([], self.done("image", "prune", "-f", "json").json)
        (row,) = self.done("image", "prune", "--unused", "0", "-f", "json").json
        self.assertEqual(self.image, row["Source"])
        self.assertEqual((), self.driver.image_list())

    def test_users_are_named(self) -> None:
        self.done("spawn", "web", "--image", self.image)
        (row,) = self.done("image", "list", "-f", "json").json
        self.assertEqual([self.driver.find("web")], row["Guests"])
        self.assertIs(DiskFormat.RAW, self.driver.image_list()[0].format)

    def test_bad_words_are_refused(self) -> None:
        self.assertIn(
            "image-format: 'img'",
            self.refused(2, "image", "cache", self.image, "--image-format", "img"),
        )
        self.assertIn("'/nowhere' is not usable", self.refused(2, "image", "cache", "/nowhere"))
