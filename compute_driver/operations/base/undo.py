# SPDX-License-Identifier: Apache-2.0
"""What to take back if a later step of an operation fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Undo(contextlib.ExitStack):
    """What to take back if a later step fails.

    Register the undo of a step *before* the step, so that a step which fails half-way is undone
    too; it must therefore cope with nothing to undo.  Call :meth:`commit` when all is done.

    :ivar failed: whether something could not be taken back.
    """

    failed = False

    def add(self, what: str, function: Callable[..., object], *args: object) -> None:
        """Register *function* to undo *what*; should it fail, the other undos go on."""
        self.callback(self._attempt, what, function, *args)

    def commit(self) -> None:
        """Keep everything: nothing is undone any more."""
        self.pop_all()

    def _attempt(self, what: str, function: Callable[..., object], *args: object) -> None:
        before, self.failed = self.failed, True  # should even an interrupt end it
        try:
            function(*args)
            self.failed = before
        except Exception:
            LOG.exception("Could not undo: %s; the next driver will try again", what)
