# SPDX-License-Identifier: Apache-2.0
"""Serial consoles of real guests at TCP ports."""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from compute_driver import exceptions
from compute_driver.choices import RebootKind
from compute_driver.driver import ConsoleSession
from compute_driver.guest import Guest
from compute_driver.info import Address
from compute_driver.operations.base import serial_port
from tests.functional import base, inside, tiny

#: Seconds for an action without a guest's answer, on a busy machine.
SOON = 10.0

LISTEN = {"serial_listen": "127.0.0.1"}


def connected(address: Address) -> contextlib.closing[socket.socket]:
    where = (address.host, address.port)
    return contextlib.closing(socket.create_connection(where, inside.RUN_TIMEOUT))


class TestConsoleAtPort(inside.SharedGuestTestCase):
    options: ClassVar[dict[str, Any]] = LISTEN

    def attach(self) -> ConsoleSession:
        session = self.driver.console_attach(self.made.uuid)
        self.addCleanup(session.close)
        return session

    def address(self) -> Address:
        return self.driver.console_address(self.made.uuid)

    def test_client_talks_to_the_guest_and_the_log_goes_on(self) -> None:
        with connected(self.address()) as client:
            client.sendall(b"by TCP\r")
            heard = b""
            while b"GUEST-ECHO: by TCP" not in heard:
                heard += client.recv(4096)
        self.driver.console_wait(self.made.uuid, "GUEST-ECHO: by TCP", timeout=SOON)
        self.assertIn(base.BANNER, self.console(self.made))

    def test_sessions_of_the_driver_work_too(self) -> None:
        self.assertEqual("3\n", self.run_inside("echo $((1 + 2))"))

    def test_second_client_is_refused_until_the_first_has_gone(self) -> None:
        first = self.attach()
        with self.assertRaises(exceptions.GuestBusy):
            self.attach()
        first.close()
        self.attach().close()
        with connected(self.address()), self.assertRaises(exceptions.GuestBusy):
            self.attach()

    def test_closing_and_stopping_end_a_session_that_listens(self) -> None:
        with ThreadPoolExecutor() as pool:
            session = self.attach()
            heard = pool.submit(self.listen, session)
            session.close()
            heard.result(SOON)
            heard = pool.submit(self.listen, self.attach())
            self.driver.stop(self.made.uuid, timeout=0)
            heard.result(SOON)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.address()
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)

    def listen(self, session: ConsoleSession) -> bytes:
        """Return the output of a session until its end."""
        return b"".join(iter(session.receive, b""))

    def test_suspended_guest_gets_another_port_if_its_own_is_taken(self) -> None:
        before = self.address()
        self.driver.suspend(self.made.uuid)
        self.driver.resume(self.made.uuid)
        self.assertEqual(before, self.address())
        self.driver.suspend(self.made.uuid)
        with socket.create_server((before.host, before.port)):
            self.driver.resume(self.made.uuid)
        self.assertNotEqual(before.port, self.address().port)
        self.assertEqual("again\n", self.run_inside("echo again"))


class TestPorts(tiny.TinyTestCase):
    """Guests and other programs compete for ports."""

    def free(self, count: int) -> tuple[int, int]:
        """Return a range of ports that are free at this moment."""
        first = 21000
        while not all(serial_port.is_free("127.0.0.1", first + n) for n in range(count)):
            first += count
        return first, first + count - 1

    def test_terminal_is_the_default(self) -> None:
        made = self.spawn_tiny()
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "serial_listen"):
            self.driver.console_address(made.uuid)
        driver = self.other_driver(**LISTEN)
        driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual("127.0.0.1", driver.console_address(made.uuid).host)

    def test_guests_that_start_together_share_the_range(self) -> None:
        first, last = self.free(3)
        wanted = {"serial_port_range": f"{first}:{last}", **LISTEN}
        drivers = [self.other_driver(**wanted) for _ in range(2)]
        guests = [tiny.guest() for _ in range(4)]
        for made in guests:
            self.addCleanup(self.driver.destroy, made.uuid)

        def spawn(number: int) -> Guest | None:
            try:
                drivers[number % 2].spawn(guests[number])
            except exceptions.NoFreePort:
                return None
            return guests[number]

        with ThreadPoolExecutor() as pool:
            made = list(filter(None, pool.map(spawn, range(len(guests)))))
        ports = {drivers[0].console_address(guest.uuid).port for guest in made}
        self.assertEqual(set(range(first, last + 1)), ports)
        self.assertEqual(3, len(made))
        # A port is free again when its guest stops.
        self.driver.stop(made[0].uuid, timeout=0)
        drivers[0].spawn(next(guest for guest in guests if guest not in made))
        with self.assertRaises(exceptions.NoFreePort):
            drivers[0].start(made[0].uuid)

    def test_next_driver_removes_the_lock_of_a_dead_process(self) -> None:
        left = base.state_path() / "locks" / "port-21000"
        left.parent.mkdir(exist_ok=True)
        left.touch()
        self.other_driver()
        self.assertFalse(left.exists())

    def test_address_that_the_host_lacks_leaves_nothing(self) -> None:
        driver = self.other_driver(serial_listen="192.0.2.1")
        with self.assertRaisesRegex(exceptions.NoFreePort, "serial_listen.*192.0.2.1"):
            driver.spawn(tiny.guest())
