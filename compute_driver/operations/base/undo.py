# SPDX-License-Identifier: Apache-2.0
"""Takes back the steps of an operation that fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Undo(contextlib.ExitStack):
    """Steps to take back if a later step fails.

    Register the undo of a step before the step: a step that fails half-way is undone, too.  An undo
    also works if the step has done nothing.  Call :meth:`commit` in the end.

    :ivar failed: whether an undo has failed.
    """

    failed = False

    def add(self, name: str, function: Callable[..., object], *args: object) -> None:
        """Register the undo of a step.  If the undo fails, the other undos go on.

        :param name: the things that the step makes or changes, for the log.
        :param function: the undo; called with *args*.
        """
        self.callback(self._attempt, name, function, *args)

    def commit(self) -> None:
        """Keep all steps: nothing is undone any more."""
        self.pop_all()

    def _attempt(self, name: str, function: Callable[..., object], *args: object) -> None:
        before, self.failed = self.failed, True  # in case an interrupt ends the undo
        try:
            function(*args)
            self.failed = before
        except Exception:
            LOG.exception("Could not undo: %s; the next driver will try again", name)
