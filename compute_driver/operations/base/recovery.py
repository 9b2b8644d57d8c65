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
    power,
    rescue_files,
    restoring,
    settling,
)
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.need import Need

Mender = Callable[[Parts, str], None]


#: The domain and its files, in this order.
_FILES: tuple[Mender, ...] = (
    settling.mend,
    restoring.forget_kept,
    disk_copy.mend,
    rescue_files.mend,
)

#: The run: the interfaces of the domain are plugged in before the guest goes on.
_RUN: tuple[Mender, ...] = (power.wait, interfaces.mend, power.mend)

#: No operation has to wait for a run that the operation ends.
MENDERS: dict[Need, tuple[Mender, ...]] = {
    Need.ALL: (*_FILES, *_RUN),
    Need.FILES: _FILES,
    Need.NOTHING: _FILES,
}


def mend(parts: Parts, uuid: str, need: Need = Need.ALL) -> None:
    """Put a guest in order whose last operation was interrupted; the caller holds its lock.

    :raises ComputeDriverError: if a mender cannot do its work now.  The next call goes on.
    """
    for mender in MENDERS[need]:
        mender(parts, uuid)
