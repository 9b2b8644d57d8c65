# SPDX-License-Identifier: Apache-2.0
"""A small Glance: clients read images and fill images."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

from nova.conf import CONF

from tests.nova.base import IMAGE

#: The fields of an image that are not its own properties.
_BASE = frozenset(
    {
        *("id", "name", "status", "visibility", "created_at", "updated_at", "size", "checksum"),
        *("os_hash_algo", "os_hash_value", "disk_format", "container_format"),
    }
)

_TIME = "2026-01-01T00:00:00Z"


class Glance:
    """The stored images.

    :ivar records: the fields of every image, by its UUID.
    :ivar contents: the bytes of every image, by its UUID.
    """

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}

    def add(self, image_id: str, content: bytes | None = None, **changes: Any) -> None:
        """Store an image; an image without content waits for its upload."""
        self.records[image_id] = {
            "id": image_id,
            "name": "an image",
            "status": "queued",
            "visibility": "public",
            "created_at": _TIME,
            "updated_at": _TIME,
        }
        if content is not None:
            self.fill(image_id, content)
        self.records[image_id] |= changes

    def fill(self, image_id: str, content: bytes) -> None:
        self.contents[image_id] = content
        self.records[image_id] |= {
            "status": "active",
            "size": len(content),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(content).hexdigest(),
            "checksum": hashlib.md5(content).hexdigest(),
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, store: Glance, *args: Any) -> None:
        self.store = store
        super().__init__(*args)

    @property
    def image_id(self) -> str:
        words = self.path.split("/")
        return words[words.index("images") + 1] if "images" in words else ""

    def do_GET(self) -> None:
        if self.path.endswith("/schemas/image"):
            names = {name for record in self.store.records.values() for name in record}
            schema = {name: {"is_base": name in _BASE} for name in names}
            self.answer({"name": "image", "properties": schema})
        elif self.image_id not in self.store.records:
            self.send_error(404)
        elif self.path.endswith("/file"):
            self.send("application/octet-stream", self.store.contents[self.image_id])
        else:
            self.answer(self.store.records[self.image_id])

    def do_PATCH(self) -> None:
        changes = json.loads(self.body())
        if self.image_id not in self.store.records:
            self.send_error(404)
            return
        record = self.store.records[self.image_id]
        for change in changes:
            record[change["path"].lstrip("/")] = change["value"]
        self.answer(record)

    def do_PUT(self) -> None:
        content = self.body()
        if self.image_id not in self.store.records:
            self.send_error(404)
            return
        self.store.fill(self.image_id, content)
        self.send_response(204)
        self.end_headers()

    def body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, document: dict[str, Any]) -> None:
        self.send("application/json", json.dumps(document).encode())

    def send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serving(content: bytes = b"", disk_format: str = "raw", **changes: Any) -> Iterator[Glance]:
    """Serve nova as Glance inside the ``with`` block.

    :param content: the bytes of image :data:`IMAGE`.
    :param changes: other fields of the image.
    """
    store = Glance()
    store.add(IMAGE, content, disk_format=disk_format, container_format="bare", **changes)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, store)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        CONF.set_override("endpoint_override", f"http://127.0.0.1:{server.server_port}", "glance")
        try:
            yield store
        finally:
            CONF.clear_override("endpoint_override", "glance")
            server.shutdown()
