# SPDX-License-Identifier: Apache-2.0
"""libvirt's reasons for states, in words."""

from __future__ import annotations

import unittest
from unittest import mock

import libvirt

from compute_driver.choices import FAULTS, StateReason
from compute_driver.libvirt import reasons


class ReasonsTest(unittest.TestCase):
    def domain(self, state: int, number: int, errors: dict[str, int]) -> mock.Mock:
        domain = mock.create_autospec(libvirt.virDomain, instance=True)
        domain.state.return_value = [state, number]
        domain.diskErrors.return_value = errors
        return domain

    def explained(self, number: int, errors: dict[str, int]) -> str:
        return reasons.explain(self.domain(libvirt.VIR_DOMAIN_PAUSED, number, errors))

    def test_a_running_guest_and_an_unknown_number_have_no_reason(self) -> None:
        self.assertEqual("", reasons.reason(libvirt.VIR_DOMAIN_RUNNING, 1))
        self.assertEqual("", reasons.reason(libvirt.VIR_DOMAIN_PAUSED, 99))

    def test_faults_are_told_from_wishes(self) -> None:
        paused = libvirt.VIR_DOMAIN_PAUSED
        self.assertIn(reasons.reason(paused, libvirt.VIR_DOMAIN_PAUSED_WATCHDOG), FAULTS)
        self.assertNotIn(reasons.reason(paused, libvirt.VIR_DOMAIN_PAUSED_USER), FAULTS)

    def test_an_io_error_names_the_disks(self) -> None:
        io_error = libvirt.VIR_DOMAIN_PAUSED_IOERROR
        errors = {
            "vda": libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE,
            "vdb": libvirt.VIR_DOMAIN_DISK_ERROR_UNSPEC,
        }
        self.assertEqual(
            "I/O error (vda: no space left on the host, vdb: failed)",
            self.explained(io_error, errors),
        )
        self.assertEqual("I/O error", self.explained(io_error, {}))

    def test_other_reasons_ask_no_emulator(self) -> None:
        domain = self.domain(libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, {})
        self.assertEqual(StateReason.CRASHED, reasons.explain(domain))
        domain.diskErrors.assert_not_called()
