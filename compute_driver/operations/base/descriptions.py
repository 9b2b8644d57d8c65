# SPDX-License-Identifier: Apache-2.0
"""Refuses descriptions of guests that no host can have; asks neither the host nor libvirt."""

from __future__ import annotations

from typing import Any

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.libvirt import names
from compute_driver.storage import config_drive
from compute_driver.xml import metadata


def check(guest: Guest, options: Any) -> None:
    """Refuse the description of a new or a resized guest.

    :param options: group ``[hypervisor]``.
    :raises InvalidParameter: see :meth:`compute_driver.driver.ComputeDriver.spawn`.
    """
    names.check_length(guest.name, options)
    if guest.rescue is not None:
        raise exceptions.InvalidParameter(
            "rescue", guest.rescue.image.location, "None, because a new guest is not rescued"
        )
    if guest.config_drive is not None:
        config_drive.check_content(guest.config_drive)
    metadata.elements(guest.annotations)
