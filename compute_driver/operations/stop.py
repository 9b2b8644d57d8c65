# SPDX-License-Identifier: Apache-2.0
"""Shut a guest down."""

from __future__ import annotations

from compute_driver.operations.base import marks, power
from compute_driver.operations.base.context import Parts


def stop(parts: Parts, uuid: str, timeout: float) -> None:
    """Shut a guest down, by force after *timeout* seconds; drop the memory of a suspended one."""
    marks.want(parts, uuid, running=False)
    power.shut_down(parts, uuid, timeout)
    marks.clear(parts, uuid)
