# SPDX-License-Identifier: Apache-2.0
"""A guest's screen in a browser, by noVNC and its proxy, without a cloud."""

from __future__ import annotations

import socket
import subprocess
import unittest
from pathlib import Path

from compute_driver.drivers.libvirt import LibvirtDriver
from tests.cloud.browser import Page, colours, difference
from tests.cloud.processes import eventually
from tests.functional import base

_NOVNC = Path("/usr/share/novnc")
_SECONDS = 60.0


class TestPage(unittest.TestCase):
    def setUp(self) -> None:
        self.driver = LibvirtDriver(base.configuration(vnc_listen="127.0.0.1"))
        self.addCleanup(self.driver.close)
        self.made = base.guest(interfaces=())
        self.addCleanup(self.driver.destroy, self.made.uuid)
        self.driver.spawn(self.made)
        self.driver.console_wait(self.made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)

    def proxy(self) -> int:
        """Start a proxy to the guest's screen for the time of the test, and return its port."""
        screen = self.driver.display(self.made.uuid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        process = subprocess.Popen(
            ["websockify", "--web", str(_NOVNC), f"127.0.0.1:{port}", f"127.0.0.1:{screen.port}"],
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually("websockify", _SECONDS, listens)
        return port

    def test_screen_is_shown_and_keys_reach_the_guest(self) -> None:
        with Page(f"http://127.0.0.1:{self.proxy()}/vnc_lite.html", _SECONDS) as page:
            page.wait_for(lambda: self.driver.screenshot(self.made.uuid))
            before = page.picture()
            self.assertGreater(colours(before), 1)
            since = len(self.driver.console_log(self.made.uuid))
            page.type("run echo Typed >/dev/console\n")
            self.driver.console_wait(self.made.uuid, "Typed", timeout=_SECONDS, skip_bytes=since)
            page.wait_for(lambda: self.driver.screenshot(self.made.uuid))
            self.assertGreater(difference(before, page.picture()), 0)
