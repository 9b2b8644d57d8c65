# SPDX-License-Identifier: Apache-2.0
"""Remove images that no guest needs."""

from __future__ import annotations

from compute_driver.info import CacheEntry
from compute_driver.operations.base import image_users
from compute_driver.operations.base.context import Parts


def image_prune(parts: Parts, unused: float) -> tuple[CacheEntry, ...]:
    """Remove the images that no guest has used for *unused* seconds, and return them."""
    return tuple(parts.images.prune(unused, lambda: image_users.bases(parts)))
