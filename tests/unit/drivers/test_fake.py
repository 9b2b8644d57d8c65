# SPDX-License-Identifier: Apache-2.0
"""The in-memory driver keeps the contract."""

from __future__ import annotations

import unittest
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import VideoModel
from compute_driver.driver import ComputeDriver
from compute_driver.drivers import fake
from compute_driver.guest import Guest
from tests import contract
from tests.unit import base


class FakeDriverContract(contract.DriverContract):
    banner = fake.BANNER

    @classmethod
    def make_driver(cls) -> ComputeDriver:
        return fake.FakeDriver(base.configuration(vnc_listen="127.0.0.1"))

    @classmethod
    def make_guest(cls, **changes: Any) -> Guest:
        return base.describe(**changes)


class FakeDriverDecisions(unittest.TestCase):
    def test_native_guest_is_accelerated_and_foreign_one_emulated(self) -> None:
        driver = fake.FakeDriver(base.configuration())
        self.assertEqual("kvm", driver.spawn(base.describe()).accelerator)
        self.assertEqual("tcg", driver.spawn(base.describe(architecture="s390x")).accelerator)

    def test_emulation_as_configured(self) -> None:
        driver = fake.FakeDriver(base.configuration(virt_type="qemu"))
        self.assertEqual("tcg", driver.spawn(base.describe()).accelerator)

    def test_guest_without_display_has_no_screenshot(self) -> None:
        driver = fake.FakeDriver(base.configuration())
        info = driver.spawn(base.describe(video=VideoModel.NONE))
        with self.assertRaisesRegex(exceptions.GuestError, "no display"):
            driver.screenshot(info.guest.uuid)

    def test_machine_without_interrupts_cannot_be_interrupted(self) -> None:
        driver = fake.FakeDriver(base.configuration())
        info = driver.spawn(base.describe(architecture="aarch64"))
        with self.assertRaises(exceptions.InterruptUnsupported):
            driver.inject_nmi(info.guest.uuid)

    def test_guests_are_listed_by_name(self) -> None:
        driver = fake.FakeDriver(base.configuration())
        for name in ("b", "c", "a"):
            driver.spawn(base.describe(name=name))
        self.assertEqual(["a", "b", "c"], [info.guest.name for info in driver.list()])
