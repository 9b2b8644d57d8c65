# SPDX-License-Identifier: Apache-2.0
"""Announces the steps of operations by name: for the log, and for tests that end a process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

LOG = logging.getLogger(__name__)

Listener = Callable[[str], object]

_listeners: list[Listener] = []


def announce(step: str) -> None:
    """Announce that an operation has taken a step.

    :param step: name of the step, such as ``domain defined``; two steps may have the same name.
    """
    LOG.debug("Step: %s", step)
    for listener in _listeners:
        listener(step)


@contextlib.contextmanager
def announced_to(listener: Listener) -> Iterator[None]:
    """Call *listener* with the name of each step of any thread, inside the context.

    The operation goes on when the listener returns.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
