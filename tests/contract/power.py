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
        with self.refuses_state(guest, "soft-reboot", "paused", "running"):
            self.driver.reboot(guest.uuid, kind=RebootKind.SOFT)
        wait = "wait for a text on the console of"
        with self.refuses_state(guest, wait, "paused", "running"):
            self.driver.console_wait(guest.uuid, "never", timeout=0.1)
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
            with self.refuses_state(guest, "pause", "suspended", "paused, running"):
                self.driver.pause(guest.uuid)
            others = "crashed, paused, running, stopped"
            with self.refuses_state(guest, "resize", "suspended", others):
                self.driver.resize(guest.uuid, guest)
            with self.refuses_state(guest, "rescue", "suspended", "crashed, running, stopped"):
                self.driver.rescue(guest.uuid, RESCUE)
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
        running, active, alive = "running", "paused, running", "paused, running, suspended"
        driver, uuid = self.driver, guest.uuid
        refused: dict[str, tuple[str, Callable[[], object]]] = {
            "pause": (active, lambda: driver.pause(uuid)),
            "resume": (alive, lambda: driver.resume(uuid)),
            "suspend": (alive, lambda: driver.suspend(uuid)),
            "soft-reboot": (running, lambda: driver.reboot(uuid)),
            "interrupt": (active, lambda: driver.inject_nmi(uuid)),
            "take a screenshot of": (active, lambda: driver.screenshot(uuid)),
            "show the screen of": (active, lambda: driver.display(uuid)),
            "attach to the console of": (active, lambda: driver.console_attach(uuid)),
            "connect to the console of": (active, lambda: driver.console_address(uuid)),
            "wait for a text on the console of": (
                running,
                lambda: driver.console_wait(uuid, "never", timeout=5),
            ),
            "ask for the addresses of": (active, lambda: driver.addresses(uuid)),
            "ask for the SSH keys of": (running, lambda: driver.ssh_host_keys(uuid)),
            "quiesce": (running, lambda: driver.quiesce(uuid)),
            "unquiesce": (running, lambda: driver.unquiesce(uuid)),
            "set a password of": (running, lambda: driver.set_password(uuid, "secret")),
        }
        for words, (accepted, verb) in refused.items():
            with self.subTest(words), self.refuses_state(guest, words, "stopped", accepted):
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
        with self.refuses_state(guest, "unrescue", "in its own system", "in rescue"):
            self.driver.unrescue(guest.uuid)
        with self.boots(guest):
            self.driver.rescue(guest.uuid, wanted)
        self.assertIsNotNone(self.driver.show(guest.uuid).guest.rescue)
        with self.refuses_state(guest, "rescue", "in rescue", "in its own system"):
            self.driver.rescue(guest.uuid, wanted)
        with self.refuses_state(guest, "resize", "in rescue", "in its own system"):
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
        with self.refuses_state(guest, "rescue", "paused", "crashed, running, stopped"):
            self.driver.rescue(guest.uuid, Rescue(image=image))
        self.driver.resume(guest.uuid)
        self.assertIsNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual(log, self.driver.console_log(guest.uuid))
        self.assertEqual((), self.driver.audit())
