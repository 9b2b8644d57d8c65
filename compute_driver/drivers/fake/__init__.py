# SPDX-License-Identifier: Apache-2.0
"""A driver that keeps simulated guests in memory, for tests and for experiments."""

from __future__ import annotations

from compute_driver.drivers.fake.agent import Agent
from compute_driver.drivers.fake.consoles import Consoles
from compute_driver.drivers.fake.host import Host
from compute_driver.drivers.fake.images import Images
from compute_driver.drivers.fake.interfaces import Interfaces
from compute_driver.drivers.fake.lifecycle import Lifecycle
from compute_driver.drivers.fake.machine import BANNER
from compute_driver.drivers.fake.power import Power

__all__ = ["BANNER", "FakeDriver"]


class FakeDriver(Lifecycle, Power, Agent, Interfaces, Consoles, Images, Host):
    """Simulates a host that runs guests of its own architecture on KVM and emulates others."""
