# SPDX-License-Identifier: Apache-2.0
"""The serial console of real guests: its log, waiting for a text, and the interactive session."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import RebootKind
from compute_driver.driver import ConsoleSession
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional import base, inside

#: Size in KiB at which a console log rotates, number of its parts, and a guest's long output.
LOG_MAX_KIB = 16
LOG_PARTS = 4
TALK_LINES = 8000
TALK = f"i=0; while [ $i -lt {TALK_LINES} ]; do i=$((i+1)); echo line $i of what it says; done"

#: Seconds for an action without a guest's answer, on a busy machine.
SOON = 10.0


class TestConsole(inside.SharedGuestTestCase):
    def attach(self) -> ConsoleSession:
        session = self.driver.console_attach(self.made.uuid)
        self.addCleanup(session.close)
        return session

    def test_log_goes_on_over_boots(self) -> None:
        first = self.driver.console_log(self.made.uuid)
        with inside.boots(self.driver, self.made):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        whole = self.driver.console_log(self.made.uuid)
        self.assertTrue(whole.startswith(first))
        counts = list(map(int, re.findall(rb"GUEST-BOOTS: (\d+)", whole)))
        self.assertEqual(list(range(1, len(counts) + 1)), counts)
        self.assertEqual(len(counts), whole.count(base.BANNER.encode()))

    def test_session_hears_what_the_guest_answers(self) -> None:
        session = self.attach()
        session.send("grüße\r".encode())
        heard = b""
        while "GUEST-ECHO: grüße".encode() not in heard:
            heard += session.receive()

    def test_second_session_is_refused_until_the_first_is_closed(self) -> None:
        first = self.attach()
        with self.assertRaises(exceptions.GuestBusy):
            self.attach()
        first.close()
        self.attach().close()

    def test_closing_ends_a_session_that_listens(self) -> None:
        session = self.attach()
        with ThreadPoolExecutor() as pool:
            heard = pool.submit(self.listen, session)
            session.close()
            heard.result(SOON)

    def listen(self, session: ConsoleSession) -> bytes:
        """Return the output of a session until its end."""
        return b"".join(iter(session.receive, b""))

    def test_wait_for_a_text_that_never_comes_ends_at_the_deadline(self) -> None:
        began = time.monotonic()
        with self.assertRaisesRegex(exceptions.OperationTimeout, "never said.* within 0.5 s"):
            self.driver.console_wait(self.made.uuid, "never said", timeout=0.5)
        self.assertLess(time.monotonic() - began, SOON)

    def test_stop_ends_sessions_and_waits_at_once(self) -> None:
        session = self.attach()

        def wait() -> None:
            self.driver.console_wait(self.made.uuid, "never said", timeout=base.BOOT_TIMEOUT)

        with ThreadPoolExecutor() as pool:
            heard = pool.submit(self.listen, session)
            waited = pool.submit(wait)
            self.driver.stop(self.made.uuid, timeout=0)
            heard.result(SOON)
            self.assertIsInstance(waited.exception(SOON), exceptions.InvalidGuestState)
        began = time.monotonic()
        self.driver.console_wait(self.made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)
        with self.assertRaises(exceptions.InvalidGuestState):
            wait()
        self.assertLess(time.monotonic() - began, SOON)
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)


class TestBoundedLog(unittest.TestCase):
    """A test with its own libvirt, which reads the bound at its start."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        state = Path(folder.name)
        self.addCleanup(EmbeddedDaemon(state).stop)
        options = {"state_path": folder.name, "console_log_max_kib": LOG_MAX_KIB}
        self.driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(self.driver.close)
        self.made = base.guest(boot=base.kernel(), interfaces=())
        self.directory = state / "instances" / self.made.uuid

    def test_log_is_bounded_and_keeps_the_latest_lines(self) -> None:
        self.addCleanup(self.driver.destroy, self.made.uuid)
        self.driver.spawn(self.made)
        self.driver.console_wait(self.made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)
        size = len(self.driver.console_log(self.made.uuid))
        with contextlib.closing(self.driver.console_attach(self.made.uuid)) as session:
            session.send(f"run {TALK}\r".encode())
            # QEMU looks for sessions once a second: the keys of a shorter session are lost.
            self.wait("line 1 of", size)
        self.wait(f"line {TALK_LINES} of", size)
        log = self.driver.console_log(self.made.uuid).decode()
        said = [int(number) for number in re.findall(r"^line (\d+) of", log, re.MULTILINE)]
        self.assertEqual(list(range(said[0], TALK_LINES + 1)), said)
        self.assertGreater(len(log), LOG_MAX_KIB * 1024)
        kept = sum(path.stat().st_size for path in self.directory.glob("console.log*"))
        self.assertLessEqual(kept, LOG_PARTS * LOG_MAX_KIB * 1024)

    def wait(self, text: str, skip_bytes: int) -> None:
        self.driver.console_wait(
            self.made.uuid, text, timeout=base.BOOT_TIMEOUT, skip_bytes=skip_bytes
        )
