# SPDX-License-Identifier: Apache-2.0
"""Change what a guest's system and other programs are told about the guest."""

from __future__ import annotations

import dataclasses

from compute_driver.guest import Identity
from compute_driver.operations.base import interfaces
from compute_driver.operations.base.context import Parts
from compute_driver.xml import metadata


def identify(parts: Parts, uuid: str, identity: Identity, annotations: tuple[str, ...]) -> None:
    """Store a guest's identity and annotations; nothing if the guest has them.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.identify`.
    """
    metadata.elements(annotations)  # refuses a text that is no such element
    stored = parts.described(uuid)
    guest = dataclasses.replace(stored.guest, identity=identity, annotations=annotations)
    if guest != stored.guest:
        interfaces.store(parts, stored, guest)
