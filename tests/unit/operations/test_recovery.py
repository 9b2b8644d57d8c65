# SPDX-License-Identifier: Apache-2.0
"""Menders leave a guest in order alone, and let it run only if an operation was interrupted."""

from __future__ import annotations

import logging
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import context, disk_copy, power, recovery, settling
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.need import Need
from tests.unit.operations import base
from tests.unit.operations.base import UUID

LOGGER = "compute_driver.operations.base.power"

PAUSED, RUNNING, OFF = (
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF,
)

#: What becomes of a guest, by its marks and its state.
OUTCOMES = (
    ((), PAUSED, []),
    ((), OFF, []),
    ((".starting",), PAUSED, ["resume"]),
    ((".starting",), RUNNING, []),
    ((".starting",), OFF, []),
    ((".to-run",), PAUSED, []),
    ((".to-run",), RUNNING, []),
    ((".to-run",), OFF, ["start"]),
    ((".starting", ".to-run"), PAUSED, ["resume"]),
    ((".starting", ".to-run"), RUNNING, []),
    ((".starting", ".to-run"), OFF, ["start"]),
)


class MenderTest(base.OneGuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.parts.ports.prepare.return_value = False

    def test_guest_runs_that_an_operation_had_paused_or_powered_off(self) -> None:
        for marks, number, calls in OUTCOMES:
            self.domain.number = number
            self.calls.clear()
            with self.subTest(marks, state=number):
                for mark in marks:
                    self.mark(mark)
                power.mend(self.parts, UUID)
                self.assertEqual(calls, self.calls)
                self.assertEqual([], self.marks())

    def test_guest_without_marks_is_not_asked_about(self) -> None:
        power.mend(self.parts, UUID)
        self.parts.state.assert_not_called()
        self.parts.on_domain.assert_not_called()

    def test_guest_that_is_gone_is_forgotten(self) -> None:
        self.mark(".to-run")
        self.parts.state.side_effect = exceptions.GuestNotFound(UUID)
        power.mend(self.parts, UUID)
        self.assertEqual([], self.marks())

    def test_guest_that_cannot_go_on_is_tried_again(self) -> None:
        self.mark(".starting")
        self.domain.number = PAUSED
        self.parts.on_domain.side_effect = exceptions.LibvirtError("no")
        with self.assertRaises(exceptions.LibvirtError):
            power.mend(self.parts, UUID)
        self.assertEqual([".starting"], self.marks())

    def test_guest_that_does_not_start_is_named_once_and_stays_off(self) -> None:
        self.mark(".to-run")
        self.parts.ports.prepare.side_effect = exceptions.InvalidParameter("ovs", "br0", "br1")
        with self.assertLogs(LOGGER, logging.WARNING) as logged:
            power.mend(self.parts, UUID)
            power.mend(self.parts, UUID)
        self.assertEqual(1, len(logged.output))
        self.assertIn(UUID, logged.output[0])
        self.assertEqual([], self.marks())

    def test_guest_that_needs_a_service_that_is_down_is_tried_again(self) -> None:
        self.mark(".to-run")
        self.parts.ports.prepare.side_effect = exceptions.OpenVSwitchUnavailable("no")
        with self.assertRaises(exceptions.OpenVSwitchUnavailable):
            power.mend(self.parts, UUID)
        self.assertEqual([".to-run"], self.marks())

    def test_emulator_that_hangs_ends_the_recovery(self) -> None:
        self.mark(".starting")
        self.parts.name.return_value = "web1"
        self.parts.require_answer.side_effect = lambda uuid: Parts.ask_emulator(
            self.parts, uuid, domains.settle, 1.0
        )
        with (
            mock.patch.object(context.concurrency, "within", return_value=False),
            self.assertRaisesRegex(exceptions.OperationTimeout, "web1"),
        ):
            power.wait(self.parts, UUID)

    def test_guest_without_leftovers_is_left_alone(self) -> None:
        for mend in (settling.mend, power.wait, disk_copy.mend, power.mend):
            mend(self.parts, UUID)
        self.parts.on_domain.assert_not_called()

    def test_mender_that_fails_ends_the_recovery(self) -> None:
        menders = (mock.Mock(), mock.Mock(side_effect=exceptions.HostError("no")), mock.Mock())
        with (
            mock.patch.dict(recovery.MENDERS, {Need.ALL: menders}),
            self.assertRaises(exceptions.HostError),
        ):
            recovery.mend(self.parts, UUID)
        self.assertEqual([1, 1, 0], [mender.call_count for mender in menders])
