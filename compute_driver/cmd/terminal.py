# SPDX-License-Identifier: Apache-2.0
"""Connects a terminal, or a pipe, with a guest's console."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator

from compute_driver.driver import ConsoleSession

#: Ctrl-], as in telnet and virsh.
ESCAPE = b"\x1d"
_CHUNK = 65536


@contextlib.contextmanager
def raw(descriptor: int) -> Iterator[bool]:
    """Pass every key on at once, and restore the terminal at the end.

    :return: whether *descriptor* is a terminal.
    """
    if not os.isatty(descriptor):
        yield False
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield True
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def connect(session: ConsoleSession, source: int, sink: int, *, grace: float | None) -> None:
    """Send the bytes of *source* to the guest, and write the guest's output to *sink*.

    Returns when the console ends, when the user types the escape, or when, after the end of
    *source*, the guest wrote nothing for some time.

    :param source: descriptor to read from.
    :param sink: descriptor to write to.
    :param grace: the time without output, in seconds; None if *source* is a terminal: the escape or
        the end of *source* then ends the connection at once.
    :raises OSError: if writing to *sink* fails.
    """
    output = _Output(session, sink)
    try:
        while _readable(source, output.woken):
            data = os.read(source, _CHUNK)
            typed, escape, _rest = data.partition(ESCAPE) if grace is None else (data, b"", b"")
            if typed:
                session.send(typed)
            if escape or not data:
                break
        if grace is not None:
            output.wait_for_silence(grace)
    finally:
        output.close()
    if output.error is not None:
        raise output.error


def _readable(source: int, woken: int) -> bool:
    """Wait until *source* is readable; return False if the console has ended."""
    ready, _, _ = select.select([source, woken], [], [])
    return woken not in ready


class _Output:
    """A thread that writes the guest's output."""

    def __init__(self, session: ConsoleSession, sink: int) -> None:
        self.error: OSError | None = None
        self._session = session
        self._sink = sink
        self._latest = time.monotonic()
        self._ended = threading.Event()
        #: Becomes readable when the console has ended.
        self.woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while data := self._session.receive():
                while data:
                    data = data[os.write(self._sink, data) :]
                self._latest = time.monotonic()
        except OSError as error:
            self.error = error
        finally:
            self._ended.set()
            os.write(self._waker, b"\0")

    def wait_for_silence(self, grace: float) -> None:
        """Return when the guest wrote nothing for *grace* seconds, or the console has ended."""
        silent_from = time.monotonic()
        while (left := max(silent_from, self._latest) + grace - time.monotonic()) > 0:
            if self._ended.wait(left):
                return

    def close(self) -> None:
        self._session.close()
        self._thread.join()
        os.close(self.woken)
        os.close(self._waker)
