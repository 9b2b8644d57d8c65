# SPDX-License-Identifier: Apache-2.0
"""Power a guest on."""

from __future__ import annotations

from compute_driver.choices import ALIVE
from compute_driver.operations import resume
from compute_driver.operations.base import power, redefining, restoring
from compute_driver.operations.base.context import Parts


def start(parts: Parts, uuid: str) -> None:
    """Power on a stopped guest, continue a suspended or paused one; nothing if the guest runs."""
    restoring.restore_undefined(parts, uuid)
    if parts.state(uuid) in ALIVE:
        resume.resume(parts, uuid)
    else:
        power.power_on(parts, redefining.rebuild(parts, uuid))
