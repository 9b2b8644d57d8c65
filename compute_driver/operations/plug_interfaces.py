# SPDX-License-Identifier: Apache-2.0
"""Plug in again the interfaces of a guest that runs."""

from __future__ import annotations

from compute_driver.choices import ACTIVE
from compute_driver.operations.base.context import Parts


def plug_interfaces(parts: Parts, uuid: str) -> None:
    """Plug in the interfaces of a guest whose ports are lost; nothing if the guest does not run.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.plug_interfaces`.
    """
    if parts.state(uuid) in ACTIVE:
        parts.ports.restore(parts.stored(uuid).guest)
