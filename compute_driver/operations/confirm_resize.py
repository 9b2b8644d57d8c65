# SPDX-License-Identifier: Apache-2.0
"""Let go of what a guest was before its resize."""

from __future__ import annotations

from compute_driver.operations.base import settling
from compute_driver.operations.base.context import Parts
from compute_driver.storage import exchange
from compute_driver.system import concurrency


def confirm_resize(parts: Parts, uuid: str, held: concurrency.Lock) -> None:
    """Remove what was kept of the guest before its resize; nothing if there is none."""
    parts.stored(uuid)
    if settling.is_kept(parts, uuid):
        with settling.settled(parts, uuid, held, "confirm_resize"):
            exchange.drop(parts.directory(uuid))
