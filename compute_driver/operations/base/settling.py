# SPDX-License-Identifier: Apache-2.0
"""Leads resizes, their confirmations and reverts to an end, be they successful or interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from compute_driver.libvirt import domain as domains
from compute_driver.operations.base.context import Parts
from compute_driver.storage import exchange, layout
from compute_driver.system import concurrency


@contextlib.contextmanager
def settled(parts: Parts, uuid: str, held: concurrency.Lock, operation: str) -> Iterator[None]:
    """Note what is done meanwhile, and settle it; what cannot be settled now the next one does."""
    held.note(operation)
    held.keep = True
    try:
        yield
    finally:
        mend(parts, uuid)
        held.keep = False


def is_kept(parts: Parts, uuid: str) -> bool:
    """Tell whether a resize waits to be confirmed or reverted."""
    return (parts.directory(uuid) / exchange.KEPT).exists()


def mend(parts: Parts, uuid: str) -> None:
    """Make a guest wholly what it was or wholly what it is to be; nothing if it is."""
    directory = parts.directory(uuid)
    if not directory.exists():
        return
    if (directory / exchange.MAKING).exists():
        _define_again(parts, directory / exchange.MAKING)
    concurrency.run_blocking(exchange.forward, directory)
    for name in (exchange.UNDOING, exchange.UNDONE):
        if (directory / name).exists():
            _define_again(parts, directory / name)
    concurrency.run_blocking(exchange.backward, directory)
    concurrency.run_blocking(exchange.clear, directory)


def _define_again(parts: Parts, place: Path) -> None:
    description = place / layout.DESCRIPTION
    if description.exists():
        parts.connection.run(domains.define_again, description.read_text())


def bring_back(parts: Parts, uuid: str, held: concurrency.Lock) -> None:
    """Put back what was kept of a guest before its resize; nothing if nothing was."""
    with settled(parts, uuid, held, "revert_resize"):
        if is_kept(parts, uuid):
            exchange.undo(parts.directory(uuid))
