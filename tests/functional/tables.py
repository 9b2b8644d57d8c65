# SPDX-License-Identifier: Apache-2.0
"""Tables of outcomes that tests print.

By default a test fills a part of its table.  ``COMPUTE_DRIVER_TEST_TABLES`` names a directory: then
the test fills the whole table, and adds it to a file there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_DIRECTORY = os.environ.get("COMPUTE_DRIVER_TEST_TABLES")


def rows(whole: Iterable[T], part: Iterable[T]) -> list[T]:
    """Return the rows that a test fills: the whole table, or a part by default."""
    return list(whole if _DIRECTORY else part)


def show(name: str, lines: Iterable[Sequence[str]]) -> None:
    """Print a table, and add it to the table's file.

    :param name: the name of the file, without its suffix.
    :param lines: the cells of each line.
    """
    text = "".join(" | ".join(cells) + "\n" for cells in lines)
    print(text)
    if _DIRECTORY:
        with Path(_DIRECTORY, f"{name}.txt").open("a", encoding="utf-8") as file:
            file.write(text)
