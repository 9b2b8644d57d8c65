# SPDX-License-Identifier: Apache-2.0
"""Power verbs on a real guest."""

from __future__ import annotations

from compute_driver.choices import PowerState, RebootKind
from tests.functional import inside


class TestPower(inside.SharedGuestTestCase):
    def said(self, since: int) -> str:
        return self.driver.console_log(self.made.uuid)[since:].decode()

    def log_size(self) -> int:
        return len(self.driver.console_log(self.made.uuid))

    def state(self) -> PowerState:
        return self.driver.show(self.made.uuid).state

    def test_paused_guest_goes_on_without_a_boot(self) -> None:
        boot = inside.boot_id(self.driver, self.made)
        session = self.driver.console_attach(self.made.uuid)
        self.addCleanup(session.close)
        self.driver.pause(self.made.uuid)
        before = self.log_size()
        session.send(b"typed while it slept\r")
        self.assertEqual("", self.said(before))
        self.driver.resume(self.made.uuid)
        self.driver.console_wait(
            self.made.uuid, "GUEST-ECHO: typed while it slept", timeout=30, skip_bytes=before
        )
        session.close()
        self.assertEqual(boot, inside.boot_id(self.driver, self.made))

    def test_interrupt_makes_a_guest_panic(self) -> None:
        self.run_inside("echo 1 >/proc/sys/kernel/unknown_nmi_panic")
        before = self.log_size()
        self.driver.inject_nmi(self.made.uuid)
        self.driver.console_wait(self.made.uuid, "Kernel panic", timeout=30, skip_bytes=before)
        with inside.boots(self.driver, self.made):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)

    def test_suspended_guest_goes_on_without_a_boot(self) -> None:
        boot = inside.boot_id(self.driver, self.made)
        self.driver.suspend(self.made.uuid)
        self.assertIs(PowerState.SUSPENDED, self.state())
        self.driver.resume(self.made.uuid)
        self.assertEqual(boot, inside.boot_id(self.driver, self.made))

    def test_guest_suspended_while_paused_runs_after_resume(self) -> None:
        boot = inside.boot_id(self.driver, self.made)
        self.driver.pause(self.made.uuid)
        self.driver.suspend(self.made.uuid)
        self.driver.resume(self.made.uuid)
        self.assertIs(PowerState.RUNNING, self.state())
        self.assertEqual(boot, inside.boot_id(self.driver, self.made))

    def test_stop_presses_the_power_button_and_start_boots(self) -> None:
        before = self.log_size()
        self.driver.stop(self.made.uuid)
        self.assertIs(PowerState.STOPPED, self.state())
        self.assertRegex(self.said(before), r"(?s)GUEST-POWERBUTTON.*GUEST-DOWN")
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)

    def test_stop_without_a_timeout_is_forced_and_drops_the_suspended_state(self) -> None:
        before = self.log_size()
        self.driver.stop(self.made.uuid, timeout=0)
        self.assertIs(PowerState.STOPPED, self.state())
        self.assertEqual("", self.said(before))
        self.driver.start(self.made.uuid)
        self.driver.suspend(self.made.uuid)
        self.driver.stop(self.made.uuid)
        self.assertIs(PowerState.STOPPED, self.state())
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)

    def test_soft_reboot_asks_the_guest(self) -> None:
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid))
        self.assertRegex(self.said(before), r"(?s)GUEST-POWERBUTTON.*GUEST-DOWN")

    def test_soft_reboot_without_a_timeout_is_hard(self) -> None:
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.HARD, self.driver.reboot(self.made.uuid, timeout=0))
        self.assertNotIn("GUEST-POWERBUTTON", self.said(before))
