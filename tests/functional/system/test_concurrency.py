# SPDX-License-Identifier: Apache-2.0
"""Many guests, threads and processes at the same time, on one host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from compute_driver.choices import PowerState
from compute_driver.guest import GIB, Disk, Image
from tests import guests
from tests.functional import tiny, worker
from tests.image_server import ImageServer

THREADS = 8
MANY = 20


class TestConcurrency(tiny.TinyTestCase):
    def test_many_guests_from_one_cold_image(self) -> None:
        built = guests.build()
        assert built.disk is not None
        server = ImageServer(built.disk.read_bytes())
        self.addCleanup(server.close)
        image, root = Image(location=server.url), Disk(size_bytes=GIB)
        many = [tiny.guest(image=image, root=root) for _ in range(MANY)]
        for made in many:
            self.addCleanup(self.driver.destroy, made.uuid)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.driver.spawn, many))
        self.assertEqual(1, len(server.gets()))
        self.assertEqual({made.uuid for made in many}, tiny.emulators().keys())
        self.assertEqual({PowerState.RUNNING}, {info.state for info in self.driver.list()})
        self.assertEqual((), self.driver.audit())
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.driver.destroy, [made.uuid for made in many]))
        self.assertEqual({"domains": {}, "emulators": {}, "files": set()}, tiny.kept())

    def test_operations_on_different_guests_do_not_wait_for_each_other(self) -> None:
        deaf = [self.spawn_tiny() for _ in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            started = time.monotonic()
            stops = [pool.submit(self.driver.stop, made.uuid, timeout=12) for made in deaf]
            quick = self.spawn_tiny()
            self.driver.pause(quick.uuid)
            self.driver.destroy(quick.uuid)
            self.assertLess(time.monotonic() - started, 12)
            self.assertFalse(any(stop.done() for stop in stops))
            for made in deaf:
                self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
        for stop in stops:
            stop.result()

    def test_hanging_emulators_delay_no_other_guest(self) -> None:
        hung = [self.spawn_tiny() for _ in range(THREADS)]
        for pid in tiny.emulators().values():
            os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(THREADS) as pool:
            gone = [pool.submit(self.driver.destroy, made.uuid) for made in hung]
            quick = self.spawn_tiny()
            self.assertIs(PowerState.RUNNING, self.driver.show(quick.uuid).state)
            self.driver.destroy(quick.uuid)
            self.assertFalse(any(done.done() for done in gone))
        for done in gone:
            done.result()

    def test_processes_share_a_host(self) -> None:
        # Each process examines the host itself.
        with worker.running("cycle") as one, worker.running("cycle") as other:
            for _round in range(2):
                made = self.spawn_tiny()
                self.driver.destroy(made.uuid)
            self.assertEqual((worker.DONE, worker.DONE), (one.says(), other.says()))
            self.assertEqual((0, 0), (one.wait(), other.wait()))

    def test_looking_never_fails_while_guests_come_and_go(self) -> None:
        ended = threading.Event()

        def come_and_go() -> None:
            for _round in range(4):
                made = tiny.guest()
                self.driver.spawn(made)
                self.driver.destroy(made.uuid)

        def look(what: Callable[[], object]) -> int:
            count = 0
            while not ended.is_set():
                what()
                count += 1
            return count

        def audit() -> None:
            self.assertEqual((), self.driver.audit())

        looks = (self.driver.list, self.driver.stats, self.driver.host_show, audit)
        with ThreadPoolExecutor(len(looks)) as watchers, ThreadPoolExecutor(3) as pool:
            watching = [watchers.submit(look, what) for what in looks]
            try:
                for going in [pool.submit(come_and_go) for _ in range(3)]:
                    going.result()
            finally:
                ended.set()
            for watch in watching:
                self.assertGreater(watch.result(), 3)
