# SPDX-License-Identifier: Apache-2.0
"""Puts a guest in order after a sudden death, by what is there.

A mender looks at the guest's domain, files or ports, and ends a change that is half done.  All
menders run after any interruption, whichever operation has died.  So a mender does no harm to a
guest that is in order, and is quick then.
"""

from __future__ import annotations

from collections.abc import Callable

from compute_driver.operations.base import (
    disk_copy,
    interfaces,
    kept_files,
    power,
    rescue_files,
    settling,
)
from compute_driver.operations.base.context import Parts

#: In this order: the domain and its files come first, then the interfaces of the domain; the guest
#: runs last.
MENDERS: tuple[Callable[[Parts, str], None], ...] = (
    settling.mend,
    kept_files.forget,
    power.wait,
    disk_copy.mend,
    rescue_files.mend,
    interfaces.mend,
    power.mend,
)


def mend(parts: Parts, uuid: str) -> None:
    """Put a guest in order whose last operation was interrupted; the caller holds its lock.

    :raises ComputeDriverError: if a mender cannot do its work now.  The next call goes on.
    """
    for mender in MENDERS:
        mender(parts, uuid)
