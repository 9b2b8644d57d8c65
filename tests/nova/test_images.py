# SPDX-License-Identifier: Apache-2.0
"""Nova fetches images from Glance: the whole image with its checksum, or no image."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from nova import exception as nova
from nova.compute import utils as compute_utils
from nova.conf import CONF

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import Image
from compute_driver.images import sources
from compute_driver.nova import image_cache, images
from tests.nova import glance
from tests.nova.base import IMAGE, NovaCase

CONTENT = b"an image" * 100_000


class GlanceTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.target = Path(home.name, "image")

    def fetch(self, image_id: str = IMAGE, **record: Any) -> None:
        location = f"glance://{image_id}"
        with glance.serving(CONTENT, **record), images.requested_by(self.context):
            sources.find(location, CONF).fetch(location, self.target, lambda *_: None)

    def test_whole_image(self) -> None:
        self.fetch()
        self.assertEqual(CONTENT, self.target.read_bytes())

    def test_no_more_downloads_at_once_than_nova_is_configured_for(self) -> None:
        turn, fetched = threading.Semaphore(0), threading.Event()

        def fetch() -> None:
            self.fetch()
            fetched.set()

        fetcher = threading.Thread(target=fetch)
        with mock.patch.object(compute_utils, "disk_ops_semaphore", turn):
            fetcher.start()
            self.assertFalse(fetched.wait(0.5))
            self.assertFalse(self.target.exists())
            turn.release()
            fetcher.join(10)
        self.assertEqual(CONTENT, self.target.read_bytes())
        self.assertTrue(turn.acquire(blocking=False))

    def test_wrong_checksum(self) -> None:
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch(os_hash_value=hashlib.sha512(b"").hexdigest())
        self.assertFalse(self.target.exists())

    def test_wrong_size(self) -> None:
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch(size=len(CONTENT) + 1)
        self.assertFalse(self.target.exists())

    def test_images_are_cached_by_the_words_of_instances(self) -> None:
        for word, wanted, boot in (
            ("qcow2", Image(location=f"glance://{IMAGE}", format=DiskFormat.QCOW2), False),
            ("ami", Image(location=f"glance://{IMAGE}", format=DiskFormat.RAW), False),
            ("aki", Image(location=f"glance://{IMAGE}"), True),
        ):
            with glance.serving(CONTENT, word):
                self.assertEqual((wanted, boot), image_cache.describe_image(self.context, IMAGE))
                self.assertTrue(self.driver.cache_image(self.context, IMAGE))
                self.assertFalse(self.driver.cache_image(self.context, IMAGE))
        with glance.serving(CONTENT), self.assertRaises(nova.ImageNotFound):
            self.driver.cache_image(self.context, "00000000-0000-0000-0000-000000000000")

    def test_images_go_when_nova_s_options_say_so(self) -> None:
        self.assertTrue(self.driver.capabilities["has_imagecache"])
        with glance.serving(CONTENT):
            self.driver.cache_image(self.context, IMAGE)
            for options, fetched_anew in (
                ({}, False),
                ({"remove_unused_base_images": False, "image_unused_seconds": 0}, False),
                ({"image_unused_seconds": 0}, True),
            ):
                for name, value in options.items():
                    group = "hypervisor" if name == "image_unused_seconds" else "image_cache"
                    CONF.set_override(name, value, group)
                    self.addCleanup(CONF.clear_override, name, group)
                self.driver.manage_image_cache(self.context, [])
                CONF.clear_override("remove_unused_base_images", "image_cache")
                self.assertIs(fetched_anew, self.driver.cache_image(self.context, IMAGE))

    def test_no_such_image(self) -> None:
        with self.assertRaises(exceptions.ImageNotFound):
            self.fetch("00000000-0000-0000-0000-000000000000")
