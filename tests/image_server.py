# SPDX-License-Identifier: Apache-2.0
"""A web server of one image that can misbehave, and configurations for the image cache."""

from __future__ import annotations

import dataclasses
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from oslo_config import cfg

from compute_driver import conf as configuration

DEADLINE = 30.0


def configured(directory: Path, **options: object) -> cfg.ConfigOpts:
    """Return a configuration with the state directory *directory*."""
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], project="test", default_config_files=[], default_config_dirs=[])
    conf.set_override("state_path", str(directory), group="hypervisor")
    for name, value in options.items():
        conf.set_override(name, value, group="hypervisor")
    return conf


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None


class ImageServer:
    """A server at 127.0.0.1 that answers every path with *content*.

    :ivar cuts: bytes of the body after which the connection ends, one value for each GET to come.
    :ivar statuses: statuses to answer with instead, one for each request to come.
    :ivar says_length: whether answers have a length; without, a body ends with the connection.
    :ivar chunked: whether a body comes in chunks.
    :ivar align: ranges begin at a multiple of this number, like those of caches of blocks.
    :ivar checks_if_range: whether a range of a changed image is refused.
    :ivar gate: every body waits here after its first half.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.headers = {"ETag": '"one"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        self.ranges = True
        self.says_length = True
        self.chunked = False
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.no_head = 0
        self.align = 1
        self.checks_if_range = True
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.changed = threading.Condition()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # which has chunks

            def do_HEAD(self) -> None:
                server.answer(self)

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *arguments: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}/images/disk.img"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]

    def wait_for(self, count: int, method: str) -> None:
        """Return when the server has *count* requests of a method."""
        with self.changed:
            came = self.changed.wait_for(
                lambda: sum(r.method == method for r in self.requests) >= count, DEADLINE
            )
        if not came:
            raise AssertionError(f"fewer than {count} {method} requests: {self.requests}")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        get = handler.headers.get
        request = Request(
            handler.command, handler.path, get("Range"), get("If-Range"), get("Authorization")
        )
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            status = self.statuses.pop(0) if self.statuses else 200
            if request.method == "HEAD" and self.no_head:
                status = self.no_head
            cut = self.cuts.pop(0) if self.cuts and request.method == "GET" else None
        handler.close_connection = True
        start, content = 0, self.content
        asked = re.fullmatch(r"bytes=(\d+)-", request.range or "")
        fresh = request.if_range in (
            None,
            self.headers.get("ETag"),
            self.headers.get("Last-Modified"),
        )
        if status == 200 and asked and self.ranges and (fresh or not self.checks_if_range):
            start = int(asked[1]) // self.align * self.align
            status = 206 if start < len(content) else 416
        handler.send_response_only(status)
        if "Date" not in self.headers:
            handler.send_header("Date", handler.date_time_string())
        if status == 416:
            handler.send_header("Content-Range", f"bytes */{len(content)}")
        if status == 206:
            whole = len(content)
            handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        body = content[start:] if status in (200, 206) else b""
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif self.says_length:
            handler.send_header("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if request.method == "HEAD":
            return
        try:
            half = len(body) // 2
            handler.wfile.write(body[: half if cut is None else min(cut, half)])
            handler.wfile.flush()
            if not self.gate.wait(DEADLINE):
                return
            handler.wfile.write(body[half:cut])
        except OSError:
            pass  # the client went away
