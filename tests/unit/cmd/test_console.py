# SPDX-License-Identifier: Apache-2.0
"""A guest's console connects with terminals and pipes."""

from __future__ import annotations

import contextlib
import os
import pty
import queue
import termios
import threading
import time
import unittest
from collections.abc import Iterator
from unittest import mock

from compute_driver.cmd import main, terminal
from compute_driver.driver import ConsoleSession
from tests.unit.cmd.base import CommandLineCase


class Session(ConsoleSession):
    """A console whose output comes from the test."""

    def __init__(self, *says: bytes) -> None:
        self.sent = bytearray()
        self.closed = False
        self._said: queue.Queue[bytes] = queue.Queue()
        for data in says:
            self.say(data)

    def say(self, data: bytes) -> None:
        self._said.put(data)

    def receive(self) -> bytes:
        return self._said.get()

    def send(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True
        self.say(b"")


class Pipes(unittest.TestCase):
    def setUp(self) -> None:
        self.source, self.typing = os.pipe()
        self.screen, self.sink = os.pipe()
        self.open = {self.source, self.typing, self.screen, self.sink}
        self.addCleanup(lambda: [os.close(each) for each in self.open])

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
        self.open.remove(descriptor)

    def connect(self, session: Session, grace: float | None = 0.05) -> bytes:
        terminal.connect(session, self.source, self.sink, grace=grace)
        self.assertTrue(session.closed)
        self.close(self.sink)
        with open(self.screen, "rb", closefd=False) as screen:
            return screen.read()

    def test_all_of_stdin_is_sent_and_the_answer_waited_for(self) -> None:
        session = Session(b"login: ")
        os.write(self.typing, b"root\n\x1d\xff")
        self.close(self.typing)
        threading.Timer(0.1, session.say, [b"welcome"]).start()
        self.assertEqual(b"login: welcome", self.connect(session, grace=0.4))
        self.assertEqual(b"root\n\x1d\xff", session.sent)

    def test_every_output_prolongs_the_wait(self) -> None:
        session = Session()
        self.close(self.typing)
        for index in range(4):
            threading.Timer(0.15 * index, session.say, [b"x"]).start()
        self.assertEqual(b"xxxx", self.connect(session, grace=0.4))

    def test_end_of_the_console_ends_it_though_stdin_goes_on(self) -> None:
        started = time.monotonic()
        self.assertEqual(b"bye", self.connect(Session(b"bye", b""), grace=60))
        self.assertLess(time.monotonic() - started, 30)

    def test_end_of_the_console_ends_the_wait(self) -> None:
        self.close(self.typing)
        session = Session()
        threading.Timer(0.05, session.say, [b""]).start()
        started = time.monotonic()
        self.connect(session, grace=60)
        self.assertLess(time.monotonic() - started, 30)

    def test_reader_that_went_away(self) -> None:
        self.close(self.screen)
        session = Session(b"x")
        with self.assertRaises(BrokenPipeError):
            terminal.connect(session, self.source, self.sink, grace=60)
        self.assertTrue(session.closed)

    def test_session_is_closed_when_sending_fails(self) -> None:
        session = Session()
        os.write(self.typing, b"x")
        with (
            mock.patch.object(session, "send", side_effect=RuntimeError),
            self.assertRaises(RuntimeError),
        ):
            terminal.connect(session, self.source, self.sink, grace=1)
        self.assertTrue(session.closed)

    def test_pipe_is_no_terminal(self) -> None:
        with terminal.raw(self.source) as typed:
            self.assertFalse(typed)


class Terminals(unittest.TestCase):
    def setUp(self) -> None:
        self.keyboard, self.source = pty.openpty()
        self.addCleanup(os.close, self.keyboard)
        self.addCleanup(os.close, self.source)
        self.before = termios.tcgetattr(self.source)

    def test_escape_leaves_and_what_is_before_it_is_sent(self) -> None:
        session = Session()
        with terminal.raw(self.source) as typed:
            self.assertTrue(typed)
            os.write(self.keyboard, b"ls\r\x03\x1drest")
            terminal.connect(session, self.source, self.source, grace=None)
        self.assertEqual(b"ls\r\x03", session.sent)
        self.assertEqual(self.before, termios.tcgetattr(self.source))

    def test_terminal_is_put_back_after_a_failure(self) -> None:
        with contextlib.suppress(RuntimeError), terminal.raw(self.source):
            self.assertNotEqual(self.before, termios.tcgetattr(self.source))
            raise RuntimeError
        self.assertEqual(self.before, termios.tcgetattr(self.source))


class Attach(CommandLineCase):
    @contextlib.contextmanager
    def streams(self, typed: bytes) -> Iterator[str]:
        """Put files in the place of stdin and stdout."""
        screen = self.file("screen", b"")
        keyboard = self.file("keyboard", typed)
        with (
            open(keyboard) as stdin,
            open(screen, "w") as stdout,
            mock.patch("sys.stdin", stdin),
            contextlib.redirect_stdout(stdout),
        ):
            yield screen

    def test_pipe(self) -> None:
        guest = self.spawned()
        with self.streams(b"hello\n") as screen:
            status = main.main(["console", "attach", "web", "--grace", "0.1"])
        self.assertEqual(0, status)
        with open(screen, "rb") as file:
            self.assertEqual(b"hello\n", file.read())
        self.assertTrue(self.driver.console_log(guest.uuid).endswith(b"hello\n"))
        self.driver.console_attach(guest.uuid).close()

    def test_refusals(self) -> None:
        guest = self.spawned()
        session = self.driver.console_attach(guest.uuid)
        self.assertIn("is open elsewhere", self.refused(1, "console", "attach", "web"))
        session.close()
        self.driver.stop(guest.uuid)
        self.assertIn("it is stopped", self.refused(1, "console", "attach", "web"))
