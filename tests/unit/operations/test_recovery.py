# SPDX-License-Identifier: Apache-2.0
"""Menders leave a guest in order alone, and let only an interrupted power-on go on."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.operations.base import disk_copy, power, recovery, settling
from compute_driver.operations.base.context import Parts
from compute_driver.storage.home import Home
from tests.unit.base import configuration

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"


class MenderTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.directory = Path(place.name, UUID)
        self.directory.mkdir()
        self.domain = mock.Mock(spec=libvirt.virDomain)
        self.domain.state.return_value = [libvirt.VIR_DOMAIN_PAUSED, 0]
        self.parts: Any = mock.create_autospec(Parts, instance=True)
        self.parts.directory.return_value = self.directory
        self.parts.home.return_value = Home(configuration(), self.directory)
        self.parts.on_domain.side_effect = lambda _uuid, function: function(self.domain)
        self.parts.state.return_value = PowerState.PAUSED

    def mark(self) -> Path:
        mark = self.directory / ".starting"
        mark.touch()
        return mark

    def test_power_on_that_was_interrupted_goes_on(self) -> None:
        mark = self.mark()
        power.mend(self.parts, UUID)
        self.domain.resume.assert_called_once_with()
        self.assertFalse(mark.exists())

    def test_guest_that_a_user_has_paused_stays_paused(self) -> None:
        power.mend(self.parts, UUID)
        self.parts.on_domain.assert_not_called()

    def test_guest_that_did_not_start_stays_off(self) -> None:
        mark = self.mark()
        self.parts.state.return_value = PowerState.STOPPED
        power.mend(self.parts, UUID)
        self.domain.resume.assert_not_called()
        self.assertFalse(mark.exists())

    def test_guest_that_cannot_go_on_is_tried_again(self) -> None:
        mark = self.mark()
        self.parts.on_domain.side_effect = exceptions.LibvirtError("no")
        with self.assertRaises(exceptions.LibvirtError):
            power.mend(self.parts, UUID)
        self.assertTrue(mark.exists())

    def test_guest_without_leftovers_is_left_alone(self) -> None:
        for mend in (settling.mend, power.wait, disk_copy.mend, power.mend):
            mend(self.parts, UUID)
        self.parts.on_domain.assert_not_called()

    def test_mender_that_fails_ends_the_recovery(self) -> None:
        menders = [mock.Mock(), mock.Mock(side_effect=exceptions.HostError("no")), mock.Mock()]
        with (
            mock.patch.object(recovery, "MENDERS", menders),
            self.assertRaises(exceptions.HostError),
        ):
            recovery.mend(self.parts, UUID)
        self.assertEqual([1, 1, 0], [mender.call_count for mender in menders])
