# SPDX-License-Identifier: Apache-2.0
"""Freeze a guest in memory."""

from __future__ import annotations

import libvirt

from compute_driver.choices import ACTIVE, PowerState
from compute_driver.operations.base.context import Parts


def pause(parts: Parts, uuid: str) -> None:
    """Freeze a running guest; nothing if the guest is paused."""
    if parts.require(uuid, "pause", ACTIVE) is PowerState.RUNNING:
        parts.on_domain(uuid, libvirt.virDomain.suspend)
