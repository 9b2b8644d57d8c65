# SPDX-License-Identifier: Apache-2.0
"""Everything that follows from a guest: its hardware, files, accelerator and domain."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from compute_driver.guest import Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.storage.layout import Layout

if TYPE_CHECKING:
    from compute_driver.hardware.description import Hardware


@dataclasses.dataclass(frozen=True)
class Draft:
    """A guest on this host, before its domain is written.

    :param guest: its description.
    :param decision: its accelerator, and the reason.
    :param hardware: its hardware, with every choice made.
    :param layout: its files.
    """

    guest: Guest
    decision: Decision
    hardware: Hardware
    layout: Layout


@dataclasses.dataclass(frozen=True)
class Blueprint(Draft):
    """A guest on this host.

    :param xml: its domain, for libvirt to define.
    :param lost: the paths of values that another client has set, and that the domain does not keep:
        this driver changes the same values.
    """

    xml: str
    lost: tuple[str, ...] = ()
