# SPDX-License-Identifier: Apache-2.0
"""An instance is interrupted so that it writes a crash dump."""

from __future__ import annotations

from nova import exception

from tests.nova.base import NovaCase


class CrashTest(NovaCase):
    def test_crash_dump_is_triggered(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.driver.trigger_crash_dump(instance)
        self.assertIn(b"NMI", self.driver.get_console_output(self.context, instance))
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotRunning):
            self.driver.trigger_crash_dump(instance)
        self.driver.destroy(self.context, instance, [])
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.trigger_crash_dump(instance)

    def test_machine_without_interrupts_says_so(self) -> None:
        instance = self.instance()
        self.spawn(instance, self.image(hw_architecture="aarch64"))
        with self.assertRaises(exception.TriggerCrashDumpNotSupported):
            self.driver.trigger_crash_dump(instance)
