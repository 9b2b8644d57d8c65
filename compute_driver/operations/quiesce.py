# SPDX-License-Identifier: Apache-2.0
"""Freeze the file systems of a running guest."""

from __future__ import annotations

from compute_driver.operations.base import freezing
from compute_driver.operations.base.context import Parts


def quiesce(parts: Parts, uuid: str) -> None:
    """Freeze the file systems of a running guest.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.quiesce`.
    """
    freezing.freeze(parts, uuid)
