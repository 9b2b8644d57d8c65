# SPDX-License-Identifier: Apache-2.0
"""Continue a guest that is paused or suspended."""

from __future__ import annotations

from compute_driver.choices import ALIVE, PowerState
from compute_driver.operations.base import power
from compute_driver.operations.base.context import Parts
from compute_driver.system import steps


def resume(parts: Parts, uuid: str) -> None:
    """Continue a paused or suspended guest; nothing if the guest runs."""
    match parts.require(uuid, "resume", ALIVE):
        case PowerState.PAUSED:
            parts.on_domain(uuid, power.release_processors)
            steps.announce("guest released")
        case PowerState.SUSPENDED:
            power.power_on(parts, parts.stored(uuid).guest, suspended=True)
