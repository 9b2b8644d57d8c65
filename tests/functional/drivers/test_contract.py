# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver shows the behaviours of the contract, with real guests."""

from __future__ import annotations

from typing import Any

from compute_driver.driver import ComputeDriver
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest
from tests import contract
from tests.functional import base


class TestLibvirtDriver(contract.DriverContract):
    banner = base.BANNER

    @classmethod
    def make_driver(cls) -> ComputeDriver:
        return LibvirtDriver(base.configuration(vnc_listen="127.0.0.1"))

    @classmethod
    def make_guest(cls, **changes: Any) -> Guest:
        return base.guest(**changes)
