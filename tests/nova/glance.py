# SPDX-License-Identifier: Apache-2.0
"""As much of Glance as it takes to read one image."""

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


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, record: dict[str, Any], content: bytes, *args: Any) -> None:
        self.record = record
        self.content = content
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.path.endswith("/schemas/image"):
            self.answer({"name": "image", "properties": {name: {} for name in self.record}})
        elif IMAGE not in self.path:
            self.send_error(404)
        elif self.path.endswith("/file"):
            self.send("application/octet-stream", self.content)
        else:
            self.answer(self.record)

    def answer(self, document: dict[str, Any]) -> None:
        self.send("application/json", json.dumps(document).encode())

    def send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(content: bytes, disk_format: str = "raw", **changes: Any) -> Iterator[None]:
    """Be the Glance that nova talks to meanwhile.

    :param content: of the one image that there is.
    :param changes: to what is said of the image.
    """
    record = {
        "id": IMAGE,
        "status": "active",
        "visibility": "public",
        "disk_format": disk_format,
        "container_format": "bare",
        "size": len(content),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(content).hexdigest(),
        "checksum": hashlib.md5(content).hexdigest(),
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        **changes,
    }
    handler = functools.partial(_Handler, record, content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        CONF.set_override("endpoint_override", f"http://127.0.0.1:{server.server_port}", "glance")
        try:
            yield
        finally:
            CONF.clear_override("endpoint_override", "glance")
            server.shutdown()
