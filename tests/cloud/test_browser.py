# SPDX-License-Identifier: Apache-2.0
"""A server's screen in a browser, at the address that nova gives."""

from __future__ import annotations

import contextlib

import libvirt

from compute_driver.libvirt.consoles import screen
from tests.cloud.browser import Page, colours, difference
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server

_ASKED = {"remote_console": {"protocol": "vnc", "type": "novnc"}}


class TestBrowser(CloudCase):
    def test_screen_is_shown_and_keys_reach_the_server(self) -> None:
        server = self.use()
        with recorded("noVNC in a browser"):
            url = str(server.post("/remote-consoles", _ASKED, "2.6")["remote_console"]["url"])
            with Page(url, DEADLINE) as page:
                page.wait_for(lambda: self.screenshot(server))
                before = page.picture()
                self.assertGreater(colours(before), 1)
                page.type("run echo Typed >/run/typed; echo Typed >/dev/console\n")
                typed = lambda: server.ssh("cat /run/typed").strip() == "Typed"  # noqa: E731
                eventually("the typed text", DEADLINE, typed)
                self.assertIn("Typed", server.console())
                page.wait_for(lambda: self.screenshot(server))
                self.assertGreater(difference(before, page.picture()), 0)
        self.keep(server)

    def screenshot(self, server: Server) -> bytes:
        """Return QEMU's screenshot of the server, a PNG."""
        with contextlib.closing(libvirt.open(CLOUD.libvirt.ensure())) as connection:
            return screen.take_screenshot(connection.lookupByUUIDString(server.id))
