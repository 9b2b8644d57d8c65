# SPDX-License-Identifier: Apache-2.0
"""A lease notices a closed connection, and a supervisor that is stopped or has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import unittest

from compute_driver.libvirt.embedded.lease import Lease
from compute_driver.system import concurrency


class LeaseTest(unittest.TestCase):
    def setUp(self) -> None:
        self.supervisor = subprocess.Popen(["sleep", "60"])
        self.addCleanup(self.supervisor.wait)
        self.addCleanup(self.supervisor.kill)
        connection, self.daemon = concurrency.native("socket").socketpair()
        self.addCleanup(self.daemon.close)
        self.lease = Lease(connection, self.supervisor.pid)
        self.addCleanup(self.lease.close)

    def test_a_running_supervisor_with_an_open_connection_serves(self) -> None:
        self.assertTrue(self.lease.serves())

    def test_a_stopped_supervisor_serves_again_when_it_is_continued(self) -> None:
        self.supervisor.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.supervisor.pid, os.WSTOPPED)
        self.assertFalse(self.lease.serves())
        self.supervisor.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, self.supervisor.pid, os.WCONTINUED)
        self.assertTrue(self.lease.serves())

    def test_a_dead_supervisor_does_not_serve(self) -> None:
        self.supervisor.kill()
        os.waitid(os.P_PID, self.supervisor.pid, os.WEXITED | os.WNOWAIT)
        self.assertFalse(self.lease.serves())
        self.supervisor.wait()
        self.assertFalse(self.lease.serves())

    def test_a_closed_connection_does_not_serve(self) -> None:
        self.daemon.close()
        self.assertFalse(self.lease.serves())
