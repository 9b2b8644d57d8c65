# SPDX-License-Identifier: Apache-2.0
"""Values that read one way on a screen and another by a program."""

from __future__ import annotations

from collections.abc import Sequence

from cliff.columns import FormattableColumn


class Lines(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """A list: one line for each item on a screen, a list for programs."""

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(list(items))

    def human_readable(self) -> str:
        """Return the items below each other."""
        return "\n".join(self._value)
