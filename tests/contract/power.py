# SPDX-License-Identifier: Apache-2.0
"""Powering guests on and off."""

from __future__ import annotations

from collections.abc import Callable

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind, StateReason
from compute_driver.guest import Guest, Image, Rescue
from tests.contract.base import BOOT_TIMEOUT, RESCUE, Case


class Power(Case):
    """See :class:`compute_driver.contract.power.Power`."""

    def test_pause_and_resume(self) -> None:
        guest = self.shared()
        for _twice in range(2):
            self.driver.pause(guest.uuid)
            self.assertIs(self.state(guest), PowerState.PAUSED)
        reports = (self.driver.show(guest.uuid), *self.driver.stats(guest.uuid))
        self.assertEqual([StateReason.USER] * 2, [report.state_reason for report in reports])
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.reboot(guest.uuid, kind=RebootKind.SOFT)
        for _twice in range(2):
            self.driver.resume(guest.uuid)
            self.assertIs(self.state(guest), PowerState.RUNNING)
        self.assertEqual("", self.driver.show(guest.uuid).state_reason)

    def test_suspended_guest_is_resumed_or_started_where_it_was(self) -> None:
        guest = self.shared()
        boots = self.driver.console_log(guest.uuid).count(self.banner.encode())
        for awake in (self.driver.resume, self.driver.start):
            for _twice in range(2):
                self.driver.suspend(guest.uuid)
                self.assertIs(self.state(guest), PowerState.SUSPENDED)
            with self.assertRaises(exceptions.InvalidGuestState):
                self.driver.pause(guest.uuid)
            awake(guest.uuid)
            self.assertIs(self.state(guest), PowerState.RUNNING)
        log = self.driver.console_log(guest.uuid)
        self.assertEqual(boots, log.count(self.banner.encode()))

    def test_running_and_paused_guests_are_started_without_a_boot(self) -> None:
        guest = self.shared()
        self.driver.start(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)
        self.driver.pause(guest.uuid)
        self.driver.start(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_stopped_guest_stays_and_takes_few_verbs(self) -> None:
        guest = self.shared()
        for _twice in range(2):
            self.driver.stop(guest.uuid, timeout=0)
            self.assertIs(self.state(guest), PowerState.STOPPED)
        self.assertIn(guest.uuid, self.listed())
        self.assertIn(self.banner.encode(), self.driver.console_log(guest.uuid))
        refused: dict[str, Callable[[], object]] = {
            "pause": lambda: self.driver.pause(guest.uuid),
            "resume": lambda: self.driver.resume(guest.uuid),
            "suspend": lambda: self.driver.suspend(guest.uuid),
            "soft reboot": lambda: self.driver.reboot(guest.uuid),
            "inject_nmi": lambda: self.driver.inject_nmi(guest.uuid),
            "screenshot": lambda: self.driver.screenshot(guest.uuid),
            "display": lambda: self.driver.display(guest.uuid),
            "console_attach": lambda: self.driver.console_attach(guest.uuid),
            "console_address": lambda: self.driver.console_address(guest.uuid),
            "console_wait": lambda: self.driver.console_wait(guest.uuid, "never", timeout=5),
        }
        for name, verb in refused.items():
            with self.subTest(name), self.assertRaises(exceptions.InvalidGuestState):
                verb()
        self.assertEqual((), self.driver.stats(guest.uuid)[0].interfaces)
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)

    def test_stop_asks_the_guest_and_start_boots_it(self) -> None:
        guest = self.shared()
        self.driver.stop(guest.uuid)
        self.assertIs(self.state(guest), PowerState.STOPPED)
        with self.boots(guest):
            self.driver.start(guest.uuid)

    def test_interrupt_cannot_be_masked_and_waits_for_a_paused_guest(self) -> None:
        guest = self.shared()
        for pause in (False, True):
            before = len(self.driver.console_log(guest.uuid))
            if pause:
                self.driver.pause(guest.uuid)
            self.driver.inject_nmi(guest.uuid)
            self.driver.resume(guest.uuid)
            self.driver.console_wait(
                guest.uuid, "NMI received", timeout=BOOT_TIMEOUT, skip_bytes=before
            )

    def test_soft_reboot(self) -> None:
        guest = self.shared()
        with self.boots(guest):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(guest.uuid, kind=RebootKind.SOFT))

    def image_of(self, guest: Guest) -> Image:
        """Return the guest's image; for drivers without images, any file."""
        return guest.image or Image(location=__file__)

    def test_rescued_guest_boots_another_system_until_it_is_unrescued(self) -> None:
        guest = self.shared()
        wanted = Rescue(image=self.image_of(guest))
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.unrescue(guest.uuid)
        with self.boots(guest):
            self.driver.rescue(guest.uuid, wanted)
        self.assertIsNotNone(self.driver.show(guest.uuid).guest.rescue)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.rescue(guest.uuid, wanted)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.resize(guest.uuid, guest)
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)
        self.driver.stop(guest.uuid, timeout=0)
        with self.boots(guest):
            self.driver.start(guest.uuid)
        self.assertIsNotNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual((), self.driver.audit())
        with self.boots(guest):
            self.driver.unrescue(guest.uuid)
        self.assertIsNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual((), self.driver.audit())

    def test_rescue_that_cannot_be_leaves_the_guest_running(self) -> None:
        guest = self.shared()
        image = self.image_of(guest)
        log = self.driver.console_log(guest.uuid)
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.rescue(guest.uuid, RESCUE)
        self.driver.pause(guest.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.rescue(guest.uuid, Rescue(image=image))
        self.driver.resume(guest.uuid)
        self.assertIsNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual(log, self.driver.console_log(guest.uuid))
        self.assertEqual((), self.driver.audit())
