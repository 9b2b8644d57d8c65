# SPDX-License-Identifier: Apache-2.0
"""Completes resizes, confirmations and reverts, also after an interruption."""

from __future__ import annotations

from collections.abc import Mapping

from compute_driver.libvirt.description import Description
from compute_driver.operations.base import marks, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.storage import exchange
from compute_driver.system import concurrency, steps
from compute_driver.xml import present
from compute_driver.xml.present import Place, Present


def is_kept(parts: Parts, uuid: str) -> bool:
    """Tell whether a resize waits to be confirmed or reverted."""
    return (parts.directory(uuid) / exchange.KEPT).exists()


def kept(parts: Parts, uuid: str) -> Present | None:
    """Return what the domain of a guest had before its resize; None if this is not known."""
    description = Description.kept(parts.directory(uuid), exchange.KEPT)
    if not description.exists():
        return None
    return present.read(description.read(), None, parts.directory(uuid))


def kept_disks(parts: Parts, uuid: str) -> Mapping[str, Place]:
    """Return, as :func:`kept`, the places of the disks that the domain had before its resize."""
    before = kept(parts, uuid)
    return {} if before is None else before.disks


def mend(parts: Parts, uuid: str) -> None:
    """Make a guest completely the old or completely the new guest; nothing if no change is open."""
    home = parts.home(uuid)
    directory = home.directory
    if not directory.exists():
        return
    _restore(parts, uuid, exchange.MAKING)
    concurrency.run_blocking(exchange.forward, home)
    for name in (exchange.UNDOING, exchange.UNDONE):
        _restore(parts, uuid, name)
    concurrency.run_blocking(exchange.backward, home)


def bring_back(parts: Parts, uuid: str, *, running: bool) -> None:
    """Make a guest what it was before its resize; nothing if no resize waits.

    :param running: whether the guest runs in the end.
    """
    mend(parts, uuid)
    if is_kept(parts, uuid):
        exchange.undo(parts.directory(uuid))
        marks.want(parts, uuid, running=running)
        steps.announce("old files wanted")
        mend(parts, uuid)


def _restore(parts: Parts, uuid: str, files: str) -> None:
    description = Description.kept(parts.directory(uuid), files)
    if description.exists():
        restoring.restore(parts, description)
