# SPDX-License-Identifier: Apache-2.0
"""The disks and files of a rescue system."""

from __future__ import annotations

from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.operations.base import image_users
from compute_driver.operations.base.context import Parts
from compute_driver.storage import disks, layout
from compute_driver.storage.source import FileSource, Source


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the addresses of disks and files of a rescue system that the guest does not boot."""
    return [Path(source.address) for source in _leftovers(parts, uuid)]


def mend(parts: Parts, uuid: str) -> None:
    """Remove the disks and files that :func:`leftovers` names, and the need of their image."""
    left = _leftovers(parts, uuid)
    for source in left:
        disks.kind(source).remove(source)
    if left:
        image_users.release_unneeded(parts, uuid)


def _leftovers(parts: Parts, uuid: str) -> list[Source]:
    home, prefix = parts.home(uuid), layout.RESCUE_PREFIX
    paths = (*home.directory.glob(f"{prefix}*"), *home.directory.glob(f".{prefix}*"))
    files = [FileSource(path=path, format=DiskFormat.RAW) for path in sorted(paths)]
    left = [*files, *(disk for disk in home.outside() if disk.name.startswith(prefix))]
    try:
        return left if left and parts.stored(uuid).guest.rescue is None else []
    except exceptions.GuestNotFound:
        return []
