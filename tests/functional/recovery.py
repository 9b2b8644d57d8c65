# SPDX-License-Identifier: Apache-2.0
"""Kills of the driver and of libvirt while an operation is under way."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.functional import base, tiny, worker
from tests.functional.processes import daemon_pid, ended


class RecoveryTestCase(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.driver.list()  # libvirt is up

    def kill_at(self, point: str, action: str, number: str) -> None:
        with worker.running(action, number, pause=point) as other:
            self.assertEqual(worker.PAUSED, other.says())

    def kill_libvirt(self) -> None:
        pid = daemon_pid(base.state_path())
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(ended([pid], 30))

    def background(self, function: Any, *arguments: Any, **options: Any) -> Future[Any]:
        pool = ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(function, *arguments, **options)
