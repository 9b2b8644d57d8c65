# SPDX-License-Identifier: Apache-2.0
"""The files of a rescue system, in the guest's directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from compute_driver import exceptions
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout


def mend(parts: Parts, uuid: str) -> None:
    """Remove the files of a rescue system that the guest does not boot."""
    with contextlib.suppress(exceptions.GuestNotFound):
        if parts.stored(uuid).guest.rescue is None:
            remove(parts, uuid)


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the files of a rescue system."""
    directory = parts.directory(uuid)
    prefix = layout.RESCUE_PREFIX
    return sorted((*directory.glob(f"{prefix}*"), *directory.glob(f".{prefix}*")))


def remove(parts: Parts, uuid: str) -> None:
    """Remove the files of a rescue system."""
    for path in leftovers(parts, uuid):
        path.unlink(missing_ok=True)
