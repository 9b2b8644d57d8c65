# SPDX-License-Identifier: Apache-2.0
"""Wait until a guest's serial console shows a text."""

from __future__ import annotations

import time

from compute_driver import consoles
from compute_driver.choices import ACTIVE
from compute_driver.contract.states import Request
from compute_driver.libvirt.consoles import log as console_log
from compute_driver.operations.base.context import Parts


def console_wait(parts: Parts, uuid: str, text: str, timeout: float, skip_bytes: int) -> None:
    """Return when the serial console of a guest shows *text*.

    :param timeout: seconds.
    :param skip_bytes: see :meth:`compute_driver.driver.ComputeDriver.console_wait`.
    :raises: likewise.
    """
    log = parts.inventory.console_log(uuid)
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        if parts.state(uuid) not in ACTIVE:
            deadline = time.monotonic()  # the guest writes nothing more
        while not console_log.wait_for_text(log, text, watch, deadline, skip_bytes):
            parts.require(uuid, Request.WAIT_FOR_CONSOLE)  # opens a lost connection again
            if time.monotonic() >= deadline:
                raise consoles.not_shown(parts.name(uuid), text, timeout)
