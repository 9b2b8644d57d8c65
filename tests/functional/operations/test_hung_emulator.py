# SPDX-License-Identifier: Apache-2.0
"""An emulator that hangs holds no verb for good, and the error names its guest."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import Interface, PublishedPort
from compute_driver.libvirt import domain as domains
from tests.functional import tiny

PORT = PublishedPort(port=2222, guest_port=22)


class TestHungEmulator(tiny.TinyTestCase):
    def answers(self) -> list[tuple[str, bool]]:
        """Return the UUIDs of all guests, and whether their emulators answer."""
        return [(stats.uuid, stats.answers) for stats in self.driver.stats()]

    def test_verbs_give_up_and_name_the_guest(self) -> None:
        made = self.spawn_tiny()
        self.assertEqual([(made.uuid, True)], self.answers())
        verbs: dict[str, Callable[[], object]] = {
            "pause": lambda: self.driver.pause(made.uuid),
            "suspend": lambda: self.driver.suspend(made.uuid),
            "inject nmi": lambda: self.driver.inject_nmi(made.uuid),
            "snapshot": lambda: self.driver.snapshot(made.uuid, Path("/nonexistent")),
            "attach interface": lambda: self.driver.attach_interface(made.uuid, Interface()),
            "publish": lambda: self.driver.publish(made.uuid, PORT),
            "unpublish": lambda: self.driver.unpublish(made.uuid, PORT),
            "screenshot": lambda: self.driver.screenshot(made.uuid),
            "set password": lambda: self.driver.set_password(made.uuid, "secret"),
            "stats": lambda: self.driver.stats(made.uuid),
        }
        emulator = tiny.emulators()[made.uuid]
        os.kill(emulator, signal.SIGSTOP)
        self.addCleanup(os.kill, emulator, signal.SIGCONT)
        self.enterContext(mock.patch.object(domains, "ANSWER_SECONDS", 1.0))
        # The first question waits for the emulator, and the second one passes over it.
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.assertEqual([(made.uuid, False)], self.answers())
        self.assertIn(repr(made.name), "".join(logs.output))
        for name, verb in verbs.items():
            with self.subTest(name), self.assertRaises(exceptions.OperationTimeout) as caught:
                verb()
            self.assertIn(f"emulator of guest {made.name!r} does not answer", str(caught.exception))
