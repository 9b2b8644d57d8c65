# SPDX-License-Identifier: Apache-2.0
"""Takes back the steps of an operation that fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Undo(contextlib.ExitStack):
    """Steps to take back if a later step fails.

    Register the undo of a step *before* the step, so that a step which fails half-way is undone,
    too.  So an undo must cope with a step that has not been taken.  Call :meth:`commit` in the end.

    :ivar failed: whether an undo has failed.
    """

    failed = False

    def add(self, what: str, function: Callable[..., object], *args: object) -> None:
        """Register *function* to undo *what*; should it fail, the other undos go on."""
        self.callback(self._attempt, what, function, *args)

    def commit(self) -> None:
        """Keep all steps: nothing is undone any more."""
        self.pop_all()

    def _attempt(self, what: str, function: Callable[..., object], *args: object) -> None:
        before, self.failed = self.failed, True  # in case an interrupt ends the undo
        try:
            function(*args)
            self.failed = before
        except Exception:
            LOG.exception("Could not undo: %s; the next driver will try again", what)
