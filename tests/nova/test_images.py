# SPDX-License-Identifier: Apache-2.0
"""Images come from Glance through nova: whole and unharmed, or not at all."""

from __future__ import annotations

import hashlib
import http.server
import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova import context
from nova.conf import CONF

from compute_driver import exceptions
from compute_driver.images import sources
from compute_driver.nova import images
from tests.nova.base import IMAGE, NovaCase

CONTENT = b"an image" * 100_000


class Glance(http.server.BaseHTTPRequestHandler):
    """As much of Glance as it takes to read one image."""

    record: Mapping[str, Any]

    def do_GET(self) -> None:
        if self.path.endswith("/schemas/image"):
            properties: dict[str, Any] = {name: {} for name in self.record}
            schema = {"name": "image", "properties": properties}
            self.answer("application/json", json.dumps(schema).encode())
        elif IMAGE not in self.path:
            self.send_error(404)
        elif self.path.endswith("/file"):
            self.answer("application/octet-stream", CONTENT)
        else:
            self.answer("application/json", json.dumps(self.record).encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class GlanceTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        Glance.record = {
            "id": IMAGE,
            "status": "active",
            "visibility": "public",
            "disk_format": "raw",
            "container_format": "bare",
            "size": len(CONTENT),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(CONTENT).hexdigest(),
            "checksum": hashlib.md5(CONTENT).hexdigest(),
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        }
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Glance)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        CONF.set_override("endpoint_override", f"http://127.0.0.1:{server.server_port}", "glance")
        self.addCleanup(CONF.clear_override, "endpoint_override", "glance")
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.target = Path(home.name, "image")

    def fetch(self, image_id: str = IMAGE) -> None:
        location = f"glance://{image_id}"
        user = context.RequestContext("user", "project", auth_token="token")
        with images.requested_by(user):
            sources.find(location, CONF).fetch(location, self.target, lambda *_: None)

    def test_whole_image(self) -> None:
        self.fetch()
        self.assertEqual(CONTENT, self.target.read_bytes())

    def test_wrong_checksum(self) -> None:
        Glance.record = {**Glance.record, "os_hash_value": hashlib.sha512(b"").hexdigest()}
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch()
        self.assertFalse(self.target.exists())

    def test_wrong_size(self) -> None:
        Glance.record = {**Glance.record, "size": len(CONTENT) + 1}
        with self.assertRaises(exceptions.ImageFetchFailed):
            self.fetch()
        self.assertFalse(self.target.exists())

    def test_no_such_image(self) -> None:
        with self.assertRaises(exceptions.ImageNotFound):
            self.fetch("00000000-0000-0000-0000-000000000000")
