# SPDX-License-Identifier: Apache-2.0
"""The files that are there for a rescue."""

from __future__ import annotations

from pathlib import Path

from compute_driver import exceptions
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout


def mend(parts: Parts, uuid: str) -> None:
    """Remove the files of a rescue that is over or has never begun."""
    try:
        guest = parts.stored(uuid).guest
    except exceptions.GuestNotFound:
        return
    if guest.rescue is None:
        remove(parts, uuid)


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the files that are there for a rescue."""
    directory = parts.directory(uuid)
    prefix = layout.RESCUE_PREFIX
    return sorted((*directory.glob(f"{prefix}*"), *directory.glob(f".{prefix}*")))


def remove(parts: Parts, uuid: str) -> None:
    """Remove the files that are there for a rescue."""
    for path in leftovers(parts, uuid):
        path.unlink(missing_ok=True)
