# SPDX-License-Identifier: Apache-2.0
"""Tables: columns, and values that differ between a screen and a program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import ClassVar

from cliff import display, lister, show
from cliff.columns import FormattableColumn

from compute_driver import exceptions
from compute_driver.cmd import errors, verb


class _Checked(display.DisplayCommandBase):  # type: ignore[misc,type-arg,unused-ignore]
    """Refuses unknown columns before the verb does anything.

    cliff refuses them after the verb is done, and only if all columns are unknown.
    """

    columns: ClassVar[Sequence[str]]

    def run(self, parsed_args: argparse.Namespace) -> int:
        known = [self._normalize_column_name(name) for name in self.columns]
        for name in (*parsed_args.columns, *getattr(parsed_args, "sort_columns", ())):
            if self._normalize_column_name(name) not in known:
                error = exceptions.InvalidParameter("column", name, ", ".join(self.columns))
                raise errors.UsageError(str(error))
        status: int = super().run(parsed_args)
        return status


class Lister(_Checked, lister.Lister, verb.Verb):
    """A verb that shows a table with several rows."""


class ShowOne(_Checked, show.ShowOne, verb.Verb):
    """A verb that shows one object, with a row for each of ``columns``."""


class Lines(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """A list: one line for each item on a screen, a list for programs."""

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(list(items))

    def human_readable(self) -> str:
        """Return one line for each item."""
        return "\n".join(self._value)


class Report(Lister):
    """A verb that shows a table whose rows decide the exit status."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status
