# SPDX-License-Identifier: Apache-2.0
"""Sessions on serial consoles at TCP ports: with a server that listens as QEMU does."""

from __future__ import annotations

import socket
import threading
import unittest

from compute_driver import exceptions
from compute_driver.info import Address
from compute_driver.libvirt.consoles.socket import SocketSession


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.address = Address(host="127.0.0.1", port=self.server.getsockname()[1])

    def session(self) -> SocketSession:
        session = SocketSession(self.address, "guest")
        self.addCleanup(session.close)
        return session

    def test_both_sides_receive_data_until_the_guest_stops(self) -> None:
        session = self.session()
        guest, _ = self.server.accept()
        session.send(b"typed")
        self.assertEqual(b"typed", guest.recv(100))
        guest.sendall(b"written")
        self.assertEqual(b"written", session.receive())
        guest.close()
        self.assertEqual(b"", session.receive())
        with self.assertRaisesRegex(exceptions.GuestError, "ended"):
            for _each in range(3):
                session.send(b"too late")

    def test_close_ends_a_waiting_session_and_may_be_repeated(self) -> None:
        session = self.session()
        heard: list[bytes] = []
        listener = threading.Thread(target=lambda: heard.append(session.receive()), daemon=True)
        listener.start()
        session.close()
        session.close()
        listener.join(10)
        self.assertEqual([b""], heard)

    def test_a_second_session_is_refused_although_the_kernel_connects_it(self) -> None:
        first = self.session()
        with self.assertRaisesRegex(exceptions.GuestBusy, "elsewhere"):
            self.session()
        first.close()
        self.session()

    def test_a_port_without_a_listener_is_an_error(self) -> None:
        self.server.close()
        with self.assertRaisesRegex(exceptions.GuestError, "cannot be reached"):
            self.session()
