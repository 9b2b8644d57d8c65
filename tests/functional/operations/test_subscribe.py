# SPDX-License-Identifier: Apache-2.0
"""A listener learns the states of guests, whatever happens to libvirt's daemon."""

from __future__ import annotations

import os
import signal

from compute_driver.choices import PowerState
from tests.functional import base, command, tiny
from tests.functional.processes import daemon_pid, ended


class TestSubscribe(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny()
        self.heard: list[tuple[str, PowerState]] = []
        self.listening = self.other_driver()
        self.listening.subscribe(lambda uuid, state: self.heard.append((uuid, state)))

    def kill_libvirtd(self) -> None:
        daemon = daemon_pid(base.state_path(), "libvirtd")
        os.kill(daemon, signal.SIGKILL)
        self.assertTrue(ended([daemon], command.DEADLINE))

    def hears(self, state: PowerState) -> None:
        command.eventually(lambda: (self.made.uuid, state) in self.heard, lambda: self.heard)
        self.heard.clear()

    def test_changes_are_heard_after_the_end_of_libvirtd(self) -> None:
        for ask in (self.listening.list, self.listening.stats, lambda: None):
            for _ in range(2):
                self.kill_libvirtd()
                ask()  # perhaps before the event loop sees the lost connection
                self.driver.pause(self.made.uuid)
                self.hears(PowerState.PAUSED)
                self.driver.resume(self.made.uuid)
                self.hears(PowerState.RUNNING)

    def test_a_change_during_the_absence_of_libvirtd_is_heard(self) -> None:
        (emulator,) = tiny.emulators().values()
        os.kill(daemon_pid(base.state_path(), "libvirtd"), signal.SIGSTOP)
        os.kill(emulator, signal.SIGKILL)
        self.kill_libvirtd()
        self.hears(PowerState.STOPPED)
        self.driver.start(self.made.uuid)
        self.hears(PowerState.RUNNING)
