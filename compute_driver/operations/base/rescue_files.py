# SPDX-License-Identifier: Apache-2.0
"""The files of a rescue system, in the guest's directory."""

from __future__ import annotations

from pathlib import Path

from compute_driver import exceptions
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the files of a rescue system that the guest does not boot."""
    try:
        if parts.stored(uuid).guest.rescue is not None:
            return []
    except exceptions.GuestNotFound:
        return []
    directory = parts.directory(uuid)
    prefix = layout.RESCUE_PREFIX
    return sorted((*directory.glob(f"{prefix}*"), *directory.glob(f".{prefix}*")))


def mend(parts: Parts, uuid: str) -> None:
    """Remove the files that :func:`leftovers` returns."""
    for path in leftovers(parts, uuid):
        path.unlink(missing_ok=True)
