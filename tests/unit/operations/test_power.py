# SPDX-License-Identifier: Apache-2.0
"""The steps of a power-on, in order, and what becomes of the guest if one of them fails."""

from __future__ import annotations

import logging

import libvirt

from compute_driver import exceptions
from compute_driver.guest import MIB, Disk, Guest
from compute_driver.operations.base import power
from compute_driver.system import steps
from tests.unit.operations import base

LOGGER = "compute_driver.operations.base.undo"


class PowerOnTest(base.OneGuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.guest = Guest(
            name="guest",
            uuid=base.UUID,
            architecture="x86_64",
            memory_mib=16,
            root=Disk(size_bytes=MIB),
        )
        self.refusal: BaseException | None = None
        self.parts.ports.prepare.side_effect = self.prepare
        self.parts.ports.plug.side_effect = self.plug

    def prepare(self, _guest: Guest) -> bool:
        self.calls.append("prepare")
        return True

    def plug(self, _guest: Guest) -> None:
        self.calls.append("plug")
        self.assertEqual([".starting"], self.marks())
        if self.refusal is not None:
            raise self.refusal

    def power_on(self, *, suspended: bool = False) -> None:
        power.power_on(self.parts, self.guest, suspended=suspended)

    def somebody_starts(self) -> None:
        """Let somebody else start the guest after the preparation."""
        self.parts.ports.prepare.side_effect = None
        self.domain.number = libvirt.VIR_DOMAIN_RUNNING

    def test_guest_goes_on_when_its_ports_are_plugged(self) -> None:
        for mark in (None, ".to-run"):
            self.calls.clear()
            self.domain.number = libvirt.VIR_DOMAIN_SHUTOFF
            if mark:
                self.mark(mark)
            self.power_on()
            self.assertEqual(["prepare", "start paused", "plug", "resume"], self.calls)
            self.assertEqual([], self.marks())

    def test_guest_without_such_ports_starts_at_once(self) -> None:
        self.mark(".to-run")
        self.parts.ports.prepare.side_effect = [False]
        self.power_on()
        self.assertEqual(["start"], self.calls)
        self.assertEqual([], self.marks())

    def test_failure_makes_the_guest_as_it_was(self) -> None:
        for marks in ([], [".to-run"]):
            self.calls.clear()
            for mark in marks:
                self.mark(mark)
            self.refusal = exceptions.PlugFailed("no")
            with self.assertRaises(exceptions.PlugFailed):
                self.power_on()
            self.assertEqual(["prepare", "start paused", "plug", "power off"], self.calls)
            self.assertEqual(marks, self.marks())

    def test_guest_that_was_on_is_marked_until_libvirt_has_started_it(self) -> None:
        self.mark(".to-run")
        seen: list[tuple[str, list[str]]] = []
        with steps.announced_to(lambda step: seen.append((step, self.marks()))):
            self.power_on()
        self.assertIn(("start noted", [".starting", ".to-run"]), seen)
        self.assertIn(("guest started, paused", [".starting"]), seen)

    def test_suspended_guest_is_saved_again(self) -> None:
        self.refusal = exceptions.Interrupted(143)
        with self.assertRaises(exceptions.Interrupted):
            self.power_on(suspended=True)
        self.assertEqual(["prepare", "start paused", "plug", "save"], self.calls)

    def test_first_error_is_raised_and_the_error_of_the_way_back_is_logged(self) -> None:
        self.refusal = exceptions.PlugFailed("the first error")
        self.domain.destroy = lambda: 1 / 0  # type: ignore[assignment]
        with (
            self.assertLogs(LOGGER, logging.ERROR) as logged,
            self.assertRaisesRegex(exceptions.PlugFailed, "the first error"),
        ):
            self.power_on()
        self.assertIn("ZeroDivisionError", logged.output[0])
        self.assertEqual([".starting"], self.marks())  # the next operation tries again

    def test_guest_that_somebody_else_has_started_is_plugged_in(self) -> None:
        self.somebody_starts()
        self.power_on()
        self.assertEqual(["start paused", "plug"], self.calls)

    def test_guest_that_somebody_else_has_started_runs_on_after_a_failure(self) -> None:
        for suspended in (False, True):
            self.calls.clear()
            self.somebody_starts()
            self.refusal = exceptions.PlugFailed("no")
            with self.assertRaises(exceptions.PlugFailed):
                self.power_on(suspended=suspended)
            self.assertEqual(["start paused", "plug"], self.calls)

    def test_start_that_was_repeated_after_a_lost_connection_is_taken_back(self) -> None:
        self.somebody_starts()
        self.domain.number = libvirt.VIR_DOMAIN_PAUSED  # by the first call
        self.refusal = exceptions.PlugFailed("no")
        with self.assertRaises(exceptions.PlugFailed):
            self.power_on()
        self.assertEqual(["start paused", "plug", "power off"], self.calls)
