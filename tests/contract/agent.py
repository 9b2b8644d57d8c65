# SPDX-License-Identifier: Apache-2.0
"""Requests to the agent inside a guest."""

from __future__ import annotations

from collections.abc import Callable

from compute_driver import exceptions
from compute_driver.choices import Quiesce
from tests.contract.base import Case


class Agent(Case):
    """See :class:`compute_driver.contract.agent.Agent`."""

    def test_guest_without_a_channel_has_no_agent(self) -> None:
        guest = self.spawn(guest_agent=False)
        target = self.snapshot_directory() / "image"
        asked: dict[str, Callable[[], object]] = {
            "quiesce": lambda: self.driver.quiesce(guest.uuid),
            "unquiesce": lambda: self.driver.unquiesce(guest.uuid),
            "password": lambda: self.driver.set_password(guest.uuid, "secret"),
            "snapshot": lambda: self.driver.snapshot(guest.uuid, target, quiesce=Quiesce.REQUIRE),
        }
        for name, verb in asked.items():
            text = f"guest {guest.name!r} has no channel for an agent"
            with self.subTest(name), self.refuses(exceptions.AgentUnavailable, text):
                verb()
        self.assertFalse(target.exists())
        self.driver.snapshot(guest.uuid, target)
        target.unlink()
        self.driver.pause(guest.uuid)
        for name, verb in asked.items():
            with self.subTest(f"{name}, paused"), self.assertRaises(exceptions.InvalidGuestState):
                verb()
        self.driver.stop(guest.uuid, timeout=0)
        self.driver.snapshot(guest.uuid, target, quiesce=Quiesce.REQUIRE)
