# SPDX-License-Identifier: Apache-2.0
"""All that follows from a guest: its files, its accelerator and its domain."""

from __future__ import annotations

import dataclasses

from compute_driver.guest import Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.storage.layout import Layout


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a guest becomes on this host.

    :param guest: its description.
    :param layout: its files.
    :param decision: its accelerator, and why.
    :param xml: its domain, for libvirt to define.
    """

    guest: Guest
    layout: Layout
    decision: Decision
    xml: str
