# SPDX-License-Identifier: Apache-2.0
"""Set the password of an account inside a guest."""

from __future__ import annotations

import functools

from compute_driver.libvirt import agent
from compute_driver.operations.base.context import Parts


def set_password(parts: Parts, uuid: str, user: str, password: str) -> None:
    """Give an account a password by the guest's agent.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.set_password`.
    """
    parts.require_agent(uuid, "set a password of")
    request = functools.partial(
        agent.set_password, timeout=parts.agent_timeout, user=user, password=password
    )
    parts.on_domain(uuid, request)
