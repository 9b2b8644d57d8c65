# SPDX-License-Identifier: Apache-2.0
"""Save a guest's memory to disk."""

from __future__ import annotations

import libvirt

from compute_driver.choices import PowerState
from compute_driver.contract.states import Request
from compute_driver.operations.base.context import Parts
from compute_driver.system import steps


def suspend(parts: Parts, uuid: str) -> None:
    """Save a guest's memory to disk and power the guest off; nothing if it is suspended."""
    if parts.require(uuid, Request.SUSPEND) is not PowerState.SUSPENDED:
        parts.require_answer(uuid)
        parts.on_domain(uuid, libvirt.virDomain.managedSave)
        steps.announce("memory saved")
