# SPDX-License-Identifier: Apache-2.0
"""Tables: columns, and values that differ between a screen and a program."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from cliff import display, lister, show
from cliff.columns import FormattableColumn

from compute_driver import exceptions
from compute_driver.cmd import errors, verb

#: Defaults of cliff's options --max-width and --fit-width.
_VARIABLES = ("CLIFF_MAX_TERM_WIDTH", "CLIFF_FIT_WIDTH")

#: cliff's formats without lists.
_TEXT_FORMATS = frozenset({"csv", "shell", "value"})


class _Checked(display.DisplayCommandBase):  # type: ignore[misc,type-arg,unused-ignore]
    """Refuses unknown columns before the verb does anything.

    cliff refuses them after the verb is done, and only if all columns are unknown.
    """

    columns: ClassVar[Sequence[str]]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser, unless cliff cannot use its environment variables."""
        for name in _VARIABLES:
            try:
                int(os.environ.get(name, "0"))
            except ValueError:
                error = exceptions.InvalidParameter(name, os.environ[name], "a whole number")
                raise errors.UsageError(str(error)) from None
        return super().get_parser(prog_name)

    def run(self, parsed_args: argparse.Namespace) -> int:
        known = [self._normalize_column_name(name) for name in self.columns]
        for name in (*parsed_args.columns, *getattr(parsed_args, "sort_columns", ())):
            if self._normalize_column_name(name) not in known:
                error = exceptions.InvalidParameter("column", name, ", ".join(self.columns))
                raise errors.UsageError(str(error))
        status: int = super().run(parsed_args)
        return status


class Lister(_Checked, lister.Lister, verb.Verb):
    """A verb that shows a table with several rows; on a screen, nothing in place of no rows."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Any]
    ) -> int:
        """Show the table.

        :return: the exit status.
        """
        rows = [_as_text(parsed_args, row, " ") for row in data]
        if not rows and parsed_args.formatter == "table" and not parsed_args.print_empty:
            return 0
        status: int = super().produce_output(parsed_args, column_names, rows)
        return status


class ShowOne(_Checked, show.ShowOne, verb.Verb):
    """A verb that shows one object, with a row for each of ``columns``."""

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Any]
    ) -> int:
        """Show the object.

        :return: the exit status.
        """
        values = _as_text(parsed_args, data, "\n")
        status: int = super().produce_output(parsed_args, column_names, values)
        return status


def _as_text(parsed_args: argparse.Namespace, values: Iterable[Any], separator: str) -> list[Any]:
    """Return values whose lists are text if the format has text only; cliff writes Python's lists.

    :param separator: between the lines of a value.
    """
    if parsed_args.formatter not in _TEXT_FORMATS:
        return list(values)
    return [
        separator.join(value.human_readable().splitlines())
        if isinstance(value, FormattableColumn)
        else value
        for value in values
    ]


class Lines(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """A list: one line for each item on a screen, a list in JSON and YAML."""

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
