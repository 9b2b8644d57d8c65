# SPDX-License-Identifier: Apache-2.0
"""Refuses guests that this host cannot run."""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.hardware import acceleration
from compute_driver.host import control_groups
from compute_driver.operations.base import descriptions
from compute_driver.operations.base.context import Parts
from compute_driver.storage import formatting
from compute_driver.system import memory


def check_guest(parts: Parts, guest: Guest) -> acceleration.Decision:
    """Refuse a guest that cannot work, before the driver makes anything, even a lock.

    :return: the guest's accelerator.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.spawn`.
    """
    descriptions.check(guest, parts.conf.hypervisor)
    limit = memory.limit_mib()
    if guest.memory_mib > limit:
        raise exceptions.NotOnThisHost(
            "memory", guest.memory_mib, f"at most {limit} MiB, which is what the host has"
        )
    formatting.check(guest)
    decision = parts.draft(guest, new_files=True).decision
    control_groups.check_cpu_limits(guest.cpu_limits, parts.conf.hypervisor.connection_uri)
    parts.ports.check_interfaces(guest)
    return decision
