# SPDX-License-Identifier: Apache-2.0
"""How a driver reports the progress of a long step."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (subject, done, total) while a long step makes progress, both in bytes; a total of 0
#: means that the total is not known.
Progress = Callable[[str, int, int], None]


def no_progress(subject: str, done: int, total: int) -> None:
    """Ignore the progress."""
