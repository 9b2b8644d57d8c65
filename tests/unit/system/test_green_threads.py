# SPDX-License-Identifier: Apache-2.0
"""The suite runs on native threads, or on green threads if the environment asks for them."""

import os
import sys
import threading
import time
import unittest

import tests
from compute_driver import plugins
from compute_driver.driver import ComputeDriver
from compute_driver.system import concurrency


class GreenThreadsTest(unittest.TestCase):
    """The promises of tests/__init__.py."""

    def test_process_is_patched_exactly_when_asked(self) -> None:
        self.assertEqual(tests.GREEN_THREADS, concurrency.is_patched())

    def test_eventlet_is_not_imported_unless_asked(self) -> None:
        self.assertEqual(tests.GREEN_THREADS, "eventlet" in sys.modules)

    def test_drivers_load(self) -> None:
        for name in plugins.names(plugins.DRIVERS):
            with self.subTest(driver=name):
                self.assertTrue(issubclass(plugins.load(plugins.DRIVERS, name), ComputeDriver))

    def test_a_blocking_call_stops_no_other_thread(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        ready: list[int] = []

        def wait() -> None:
            select = concurrency.native("select").select
            ready.extend(concurrency.run_blocking(select, [reader], [], [], 5.0)[0])

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.01)  # the thread blocks meanwhile
        os.write(writer, b"x")
        waiting.join()
        self.assertEqual([reader], ready)
