# SPDX-License-Identifier: Apache-2.0
"""Accounts inside a guest."""

from __future__ import annotations

import functools

from compute_driver import exceptions
from compute_driver.guest import PowerState
from compute_driver.libvirt import agent
from compute_driver.operations.parts import Parts


def set_password(parts: Parts, uuid: str, user: str, password: str) -> None:
    """Give an account a password by the guest's agent.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.set_password`.
    """
    parts.require(uuid, "set a password of", {PowerState.RUNNING})
    guest = parts.stored(uuid).guest
    if not guest.guest_agent:
        raise exceptions.AgentUnavailable(f"guest {guest.name!r} has no channel for an agent")
    timeout = int(parts.conf.hypervisor.guest_agent_timeout)
    request = functools.partial(agent.set_password, timeout=timeout, user=user, password=password)
    parts.on_domain(uuid, request)
