# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a guest, and an end for those that were interrupted.

Every operation holds its guest's lock and writes its name into the lock's file.  The file of a
process that dies stays, but nobody holds it: so that operation was interrupted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from compute_driver import concurrency
from compute_driver.operations import destroy
from compute_driver.operations.parts import Parts

LOG = logging.getLogger(__name__)

#: Operations that, interrupted, leave what is no guest yet or no longer.
_REMOVING = frozenset({"spawn", "destroy"})


@contextlib.contextmanager
def exclusive(parts: Parts, uuid: str, operation: str) -> Iterator[None]:
    """Let no other operation, of any process, touch the guest meanwhile.

    :param operation: its name, noted for whoever comes after a sudden death.
    """
    with concurrency.lock(_directory(parts) / uuid) as held:
        _finish(parts, uuid, held.interrupted)
        held.note(operation)
        yield


def recover(parts: Parts) -> None:
    """End every interrupted operation of this driver; those that go on are left alone."""
    directory = _directory(parts)
    for path in directory.iterdir() if directory.is_dir() else ():
        with concurrency.try_lock(path) as held:
            if held is not None:
                _finish(parts, path.name, held.interrupted)


@contextlib.contextmanager
def unless_busy(parts: Parts, uuid: str) -> Iterator[bool]:
    """Like :func:`exclusive`, but yield False at once if an operation on the guest is going on."""
    with concurrency.try_lock(_directory(parts) / uuid) as held:
        yield held is not None


def _directory(parts: Parts) -> Path:
    return Path(parts.conf.hypervisor.state_path) / "locks"


def _finish(parts: Parts, uuid: str, operation: str) -> None:
    """Remove what was being made or removed; other operations left a guest that still is one."""
    if operation in _REMOVING:
        LOG.warning("Removing guest %s: its %s was interrupted", uuid, operation)
        destroy.destroy(parts, uuid)
