# SPDX-License-Identifier: Apache-2.0
"""Images come from Glance through nova: whole and unharmed, or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from nova.conf import CONF

from compute_driver import exceptions
from compute_driver.images import sources
from compute_driver.nova import images
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

    def test_wrong_checksum(self) -> None:
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch(os_hash_value=hashlib.sha512(b"").hexdigest())
        self.assertFalse(self.target.exists())

    def test_wrong_size(self) -> None:
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch(size=len(CONTENT) + 1)
        self.assertFalse(self.target.exists())

    def test_no_such_image(self) -> None:
        with self.assertRaises(exceptions.ImageNotFound):
            self.fetch("00000000-0000-0000-0000-000000000000")
