# SPDX-License-Identifier: Apache-2.0
"""The ports that user-mode networking publishes, before QEMU opens them."""

from __future__ import annotations

import socket
import unittest
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Protocol
from compute_driver.guest import Interface, PublishedPort
from compute_driver.network.user import UserMode
from compute_driver.operations.base.serial_port import is_free
from tests.ports import free_port


class HeldPortTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.interface = Interface(published=(PublishedPort(port=self.port, guest_port=22),))

    def test_neither_libvirt_nor_a_serial_console_takes_a_held_port(self) -> None:
        with UserMode().held([self.interface]):
            # libvirt's virPortAllocatorBindToPort asks in the same way.
            self.assertFalse(is_free("0.0.0.0", self.port))
            self.assertFalse(is_free("127.0.0.1", self.port))
        self.assertTrue(is_free("127.0.0.1", self.port))

    def test_port_of_another_program_is_refused_and_the_others_are_free_again(self) -> None:
        first = PublishedPort(port=free_port(), guest_port=80)
        interface = Interface(published=(first, *self.interface.published))
        with socket.create_server(("127.0.0.1", self.port)):
            with self.assertRaisesRegex(exceptions.NotOnThisHost, "accepted: a free port"):
                UserMode().held([interface])
            self.assertTrue(is_free("127.0.0.1", first.port))

    def test_datagrams(self) -> None:
        port = PublishedPort(port=self.port, guest_port=53, protocol=Protocol.UDP)
        interface = Interface(published=(port,))
        with UserMode().held([interface]), self.assertRaises(exceptions.NotOnThisHost):
            UserMode().held([interface])

    def test_port_of_the_superuser_is_named_as_such(self) -> None:
        with mock.patch.object(socket, "socket") as made:
            made.return_value.bind.side_effect = PermissionError(13, "Permission denied")
            with self.assertRaisesRegex(exceptions.NotOnThisHost, "ip_unprivileged_port_start"):
                UserMode().held([self.interface])
