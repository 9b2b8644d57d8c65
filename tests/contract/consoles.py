# SPDX-License-Identifier: Apache-2.0
"""The serial consoles and screens of guests."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from compute_driver import exceptions
from compute_driver.choices import VideoModel
from compute_driver.consoles import DisplayKind
from tests.contract.base import Case


class Consoles(Case):
    """See :class:`compute_driver.contract.consoles.Consoles`."""

    def test_console_log_can_be_cut_to_the_latest_bytes(self) -> None:
        guest = self.shared()
        whole = self.driver.console_log(guest.uuid)
        self.assertEqual(whole[-10:], self.driver.console_log(guest.uuid, max_bytes=10)[-10:])
        self.assertEqual(10, len(self.driver.console_log(guest.uuid, max_bytes=10)))
        self.assertEqual(b"", self.driver.console_log(guest.uuid, max_bytes=0))

    def test_waiting_for_what_never_comes_times_out(self) -> None:
        started = time.monotonic()
        with self.assertRaises(exceptions.OperationTimeout):
            self.driver.console_wait(self.shared().uuid, "never written", timeout=0.3)
        self.assertLess(time.monotonic() - started, 5)

    def test_console_sends_and_receives_for_one_at_a_time(self) -> None:
        guest = self.shared()
        marker = f"marker-{os.getpid()}"
        session = self.driver.console_attach(guest.uuid)
        try:
            with self.assertRaises(exceptions.GuestBusy):
                self.driver.console_attach(guest.uuid)
            session.send(f"echo {marker}\r".encode())
            self.assertIn(marker.encode(), self.received(session.receive, marker))
        finally:
            session.close()
        self.driver.console_attach(guest.uuid).close()

    def test_console_session_ends_with_the_guest(self) -> None:
        guest = self.shared()
        session = self.driver.console_attach(guest.uuid)
        self.addCleanup(session.close)
        self.driver.stop(guest.uuid, timeout=0)
        self.received(session.receive, "never written")
        self.assertEqual(b"", session.receive())
        with self.boots(guest):
            self.driver.start(guest.uuid)

    def received(self, receive: Callable[[], bytes], marker: str) -> bytes:
        """Return the bytes of the console until *marker*, or until the console ends."""
        data = b""

        def read() -> None:
            nonlocal data
            while marker.encode() not in data and (chunk := receive()):
                data += chunk

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(30)
        return data

    def test_console_that_is_not_served_has_no_address(self) -> None:
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "serial_listen"):
            self.driver.console_address(self.shared().uuid)

    def test_screenshot_is_a_png(self) -> None:
        picture = self.driver.screenshot(self.shared().uuid)
        self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
        self.assertIn(b"IEND", picture[-12:])

    def test_screen_is_served_at_a_port_of_its_own(self) -> None:
        found = self.driver.display(self.shared().uuid)
        self.assertEqual(
            (DisplayKind.VNC, "127.0.0.1", None), (found.kind, found.host, found.tls_port)
        )
        self.assertEqual(found, self.driver.display(self.shared().uuid, kind=DisplayKind.VNC))
        other = self.spawn()
        self.assertNotEqual(found.port, self.driver.display(other.uuid).port)

    def test_screen_that_is_not_served_is_none(self) -> None:
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "SPICE.* spice_listen"):
            self.driver.display(self.shared().uuid, kind=DisplayKind.SPICE)
        blind = self.spawn(video=VideoModel.NONE)
        with self.assertRaises(exceptions.ConsoleUnavailable):
            self.driver.display(blind.uuid)
