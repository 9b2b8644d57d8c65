# SPDX-License-Identifier: Apache-2.0
"""Tables: their columns, and values that read one way on a screen and another by a program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import ClassVar

from cliff import display, lister, show
from cliff.columns import FormattableColumn

from compute_driver import exceptions
from compute_driver.cmd import errors, verb


class _Checked(display.DisplayCommandBase):  # type: ignore[misc,type-arg,unused-ignore]
    """Refuses columns that there are not, before anything is done.

    cliff does so afterwards, and only if none of those asked for is there.
    """

    columns: ClassVar[Sequence[str]]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Carry out the verb.

        :return: the exit status.
        """
        known = [self._normalize_column_name(name) for name in self.columns]
        for name in parsed_args.columns:
            if self._normalize_column_name(name) not in known:
                error = exceptions.InvalidParameter("column", name, ", ".join(self.columns))
                raise errors.UsageError(str(error))
        status: int = super().run(parsed_args)
        return status


class Lister(_Checked, lister.Lister, verb.Verb):
    """A verb that shows a row for each thing."""


class ShowOne(_Checked, show.ShowOne, verb.Verb):
    """A verb that shows one thing, a row for each of its ``columns``."""


class Lines(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """A list: one line for each item on a screen, a list for programs."""

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(list(items))

    def human_readable(self) -> str:
        """Return the items below each other."""
        return "\n".join(self._value)
