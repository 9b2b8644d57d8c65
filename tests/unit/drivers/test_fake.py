# SPDX-License-Identifier: Apache-2.0
"""The in-memory driver keeps the contract."""

from __future__ import annotations

import unittest
import uuid
from typing import Any

from oslo_config import cfg

from compute_driver import conf, exceptions
from compute_driver.choices import VideoModel
from compute_driver.driver import ComputeDriver
from compute_driver.drivers import fake
from compute_driver.guest import Disk, Guest, Interface
from compute_driver.hardware import architecture
from tests import contract


def configuration(**options: Any) -> cfg.ConfigOpts:
    """Return a configuration that no file or variable has a part in."""
    made = cfg.ConfigOpts()
    conf.register(made)
    made([], default_config_files=[], default_config_dirs=[], use_env=False)
    for name, value in options.items():
        made.set_override(name, value, group="hypervisor")
    return made


def describe(**changes: Any) -> Guest:
    """Return a guest of the host's architecture with an empty disk."""
    identity = str(uuid.uuid4())
    description = {
        "uuid": identity,
        "name": f"guest-{identity[:8]}",
        "architecture": architecture.of_host(),
        "root": Disk(size_bytes=1024**2),
        "interfaces": (Interface(),),
    }
    return Guest(**{**description, **changes})


class FakeDriverContract(contract.DriverContract):
    banner = fake.BANNER

    @classmethod
    def make_driver(cls) -> ComputeDriver:
        return fake.FakeDriver(configuration(vnc_listen="127.0.0.1"))

    @classmethod
    def make_guest(cls, **changes: Any) -> Guest:
        return describe(**changes)


class FakeDriverDecisions(unittest.TestCase):
    def test_native_guest_is_accelerated_and_foreign_one_emulated(self) -> None:
        driver = fake.FakeDriver(configuration())
        self.assertEqual("kvm", driver.spawn(describe()).accelerator)
        self.assertEqual("tcg", driver.spawn(describe(architecture="s390x")).accelerator)

    def test_emulation_as_configured(self) -> None:
        driver = fake.FakeDriver(configuration(virt_type="qemu"))
        self.assertEqual("tcg", driver.spawn(describe()).accelerator)

    def test_guest_without_display_has_no_screenshot(self) -> None:
        driver = fake.FakeDriver(configuration())
        info = driver.spawn(describe(video=VideoModel.NONE))
        with self.assertRaisesRegex(exceptions.GuestError, "no display"):
            driver.screenshot(info.guest.uuid)

    def test_machine_without_interrupts_cannot_be_interrupted(self) -> None:
        driver = fake.FakeDriver(configuration())
        info = driver.spawn(describe(architecture="aarch64"))
        with self.assertRaises(exceptions.InterruptUnsupported):
            driver.inject_nmi(info.guest.uuid)

    def test_guests_are_listed_by_name(self) -> None:
        driver = fake.FakeDriver(configuration())
        for name in ("b", "c", "a"):
            driver.spawn(describe(name=name))
        self.assertEqual(["a", "b", "c"], [info.guest.name for info in driver.list()])
