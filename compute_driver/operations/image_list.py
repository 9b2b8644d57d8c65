# SPDX-License-Identifier: Apache-2.0
"""List the images that are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compute_driver.info import CacheEntry
from compute_driver.operations.base import image_users
from compute_driver.operations.base.context import Parts


def image_list(parts: Parts) -> tuple[CacheEntry, ...]:
    """Return the images of the cache, and the guests that need each image."""
    users = image_users.bases(parts)
    return tuple(
        dataclasses.replace(
            entry, guests=tuple(sorted(users.get(image_users.real(Path(entry.path)), ())))
        )
        for entry in parts.images.entries()
    )
