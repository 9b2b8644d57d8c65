# SPDX-License-Identifier: Apache-2.0
"""Consoles, through nova's proxies."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests
import websocket

from tests import spice
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.layout import ADDRESS, PORTS
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server


class ConsoleCase(CloudCase):
    """A test that opens consoles."""

    def url(self, server: Server, protocol: str, kind: str) -> str:
        """Return nova's address of a console."""
        asked = {"remote_console": {"protocol": protocol, "type": kind}}
        return str(server.post("/remote-consoles", asked, "2.6")["remote_console"]["url"])

    def open(self, proxy: str, path: str) -> Any:
        """Return a WebSocket to a proxy, which the end of the test closes."""
        client = websocket.create_connection(
            f"ws://{ADDRESS}:{PORTS[proxy]}/{path.lstrip('/')}",
            timeout=DEADLINE,
            subprotocols=["binary"],
            origin=CLOUD.url(proxy),
        )
        self.addCleanup(client.close)
        return client


class TestConsoles(ConsoleCase):
    def test_screen_through_the_novnc_proxy(self) -> None:
        server = self.use()
        with recorded("noVNC console"):
            url = self.url(server, "vnc", "novnc")
            self.assertEqual(200, requests.get(url, timeout=DEADLINE).status_code)
            # The page itself opens this path.
            path = unquote(parse_qs(urlsplit(url).query)["path"][0])
            client = self.open("nova-novncproxy", path)
            # RFC 6143, section 7.1.1.
            self.assertEqual(b"RFB 003.008\n", client.recv())
        self.keep(server)

    def test_unknown_token_opens_nothing(self) -> None:
        with self.assertRaises((websocket.WebSocketException, OSError)):
            self.open("nova-novncproxy", "?token=00000000-0000-0000-0000-000000000000").recv()

    def test_serial_console_through_its_proxy(self) -> None:
        server = self.use()
        with recorded("serial console"):
            url = urlsplit(self.url(server, "serial", "serial"))
            client = self.open("nova-serialproxy", f"?{url.query}")
            client.send_binary(b"hello\r")
            heard = b""
            while b"GUEST-ECHO: hello" not in heard:
                heard += _bytes(client.recv())
        client.close()
        self.keep(server)


class TestSpice(ConsoleCase):
    extra = "[spice]\nenabled = true\n"

    def test_screen_through_the_spice_proxy(self) -> None:
        server = self.use()
        with recorded("SPICE console"):
            url = self.url(server, "spice", "spice-html5")
            self.assertEqual(200, requests.get(url, timeout=DEADLINE).status_code)
            client = self.open("nova-spicehtml5proxy", f"?{urlsplit(url).query}")
            client.send_binary(spice.HELLO)
            self.assertEqual(spice.MAGIC, client.recv()[: len(spice.MAGIC)])
        self.keep(server)


def _bytes(received: str | bytes) -> bytes:
    return received.encode() if isinstance(received, str) else received
