# SPDX-License-Identifier: Apache-2.0
"""Locks between threads and processes, and the note of a holder that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from compute_driver.system import concurrency

HOLD = """
import sys
from pathlib import Path
from compute_driver.system import concurrency
with concurrency.lock(Path(sys.argv[1])) as held:
    held.note("spawn")
    print("held", flush=True)
    sys.stdin.read()
"""


class LockTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.path = Path(place.name, "locks", "a")

    def hold_elsewhere(self) -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        for stream in (holder.stdin, holder.stdout):
            self.addCleanup(stream.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        self.assertEqual("held\n", holder.stdout.readline())
        return holder

    def test_threads_exclude_each_other(self) -> None:
        inside, most = 0, 0

        def work() -> None:
            nonlocal inside, most
            for _ in range(20):
                with concurrency.lock(self.path):
                    inside += 1
                    most = max(most, inside)
                    inside -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, most)

    def test_release_removes_the_file(self) -> None:
        with concurrency.lock(self.path):
            self.assertTrue(self.path.exists())
        self.assertFalse(self.path.exists())

    def test_a_failure_of_the_holder_releases_the_lock(self) -> None:
        with self.assertRaises(ZeroDivisionError), concurrency.lock(self.path):
            raise ZeroDivisionError
        with concurrency.try_lock(self.path) as held:
            self.assertIsNotNone(held)

    def test_a_lock_of_another_process_excludes_this_process(self) -> None:
        self.hold_elsewhere()
        with concurrency.try_lock(self.path) as held:
            self.assertIsNone(held)

    def test_a_released_lock_has_no_note(self) -> None:
        holder = self.hold_elsewhere()
        holder.communicate()
        with concurrency.lock(self.path) as held:
            self.assertEqual("", held.interrupted)

    def test_the_note_of_a_dead_holder_stays(self) -> None:
        holder = self.hold_elsewhere()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with concurrency.lock(self.path) as held:
            self.assertEqual("spawn", held.interrupted)
        with concurrency.lock(self.path) as held:
            self.assertEqual("", held.interrupted)


class WaitReadableTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.reader)
        self.addCleanup(os.close, self.writer)

    def wait(self, seconds: float) -> list[int]:
        return concurrency.wait_readable([self.reader], time.monotonic() + seconds)

    def test_every_deadline_is_accepted(self) -> None:
        os.write(self.writer, b"x")
        for seconds in (-1, 0, 1e8, 1e300):
            with self.subTest(seconds):
                self.assertEqual([self.reader], self.wait(seconds))

    def test_a_long_wait_lasts_until_the_deadline(self) -> None:
        began = time.monotonic()
        with mock.patch.object(concurrency, "LONGEST_WAIT", 0.01):
            self.assertEqual([], self.wait(0.1))
        self.assertGreaterEqual(time.monotonic() - began, 0.1)


class WithinTest(unittest.TestCase):
    def test_a_call_that_ends_in_time(self) -> None:
        self.assertTrue(concurrency.within(time.monotonic() + 10, max, 1, 3))

    def test_a_call_that_fails_in_time(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            concurrency.within(time.monotonic() + 10, divmod, 1, 0)

    def test_a_call_that_hangs_is_left_behind(self) -> None:
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.assertFalse(concurrency.within(time.monotonic() + 0.05, gate.wait))

    def test_calls_are_made_at_the_same_time(self) -> None:
        second, never = threading.Event(), threading.Event()
        self.addCleanup(never.set)
        calls = [second.wait, second.set, never.wait]  # the second ends the first
        late = concurrency.all_within(time.monotonic() + 0.5, lambda call: call(), calls)
        self.assertEqual([never.wait], late)


class NativeTest(unittest.TestCase):
    @unittest.skipIf("eventlet" in sys.modules, "this process runs on green threads")
    def test_blocking_calls_are_plain_calls(self) -> None:
        thread = concurrency.run_blocking(threading.current_thread)
        self.assertIs(thread, threading.current_thread())

    def test_results_and_errors_reach_the_caller(self) -> None:
        self.assertEqual(3, concurrency.run_blocking(max, 1, 3))
        with self.assertRaises(ZeroDivisionError):
            concurrency.run_blocking(divmod, 1, 0)
