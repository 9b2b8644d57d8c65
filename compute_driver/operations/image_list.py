# SPDX-License-Identifier: Apache-2.0
"""List the images that are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

from compute_driver.info import CacheEntry
from compute_driver.operations.base import image_users
from compute_driver.operations.base.context import Parts


def image_list(parts: Parts) -> tuple[CacheEntry, ...]:
    """Return the images of the cache, and the guests that need each image."""
    entries = parts.images.entries()
    users = (image_users.bases(parts), parts.images.recorded_users()) if entries else ()
    return tuple(
        dataclasses.replace(entry, guests=_guests(image_users.real(Path(entry.path)), users))
        for entry in entries
    )


def _guests(path: Path, users: tuple[Mapping[Path, Collection[str]], ...]) -> tuple[str, ...]:
    return tuple(sorted({guest for files in users for guest in files.get(path, ())}))
