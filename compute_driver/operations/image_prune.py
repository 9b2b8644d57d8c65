# SPDX-License-Identifier: Apache-2.0
"""Remove the images that no guest needs."""

from __future__ import annotations

from compute_driver.info import CacheEntry
from compute_driver.operations.base import image_users
from compute_driver.operations.base.context import Parts


def image_prune(parts: Parts, min_age: float) -> tuple[CacheEntry, ...]:
    """Remove the images that no guest has needed for a time, and return their cache entries.

    :param min_age: the time, in seconds.
    :raises HostError: if a file that a guest may need cannot be read; nothing is removed then.
    """
    return tuple(parts.images.prune(min_age, lambda: image_users.bases(parts)))
