# SPDX-License-Identifier: Apache-2.0
"""Thaw the file systems of a guest."""

from __future__ import annotations

from compute_driver.operations.base import freezing
from compute_driver.operations.base.context import Parts


def unquiesce(parts: Parts, uuid: str) -> None:
    """Thaw the file systems of a guest.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.unquiesce`.
    """
    parts.require_agent(uuid, "unquiesce")
    freezing.thaw(parts, uuid, parts.agent_timeout)
