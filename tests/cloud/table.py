# SPDX-License-Identifier: Apache-2.0
"""Puts the results of two drivers side by side, for the documentation."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.cloud.results import COLUMNS

TARGET = Path(__file__).parents[2] / "doc/source/operations.csv"

#: Result and seconds of an operation that a driver did not try.
_NOTHING = ("", "")


def write(ours: Path, theirs: Path, target: Path = TARGET) -> None:
    """Write the table: one line for each operation, in the order of the first driver's results.

    :param ours: results of this project's driver
    :param theirs: results of nova's own
    """
    left, right = read(ours), read(theirs)
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("Operation", "Result", "Seconds", "In-tree", "Seconds"))
        for operation in dict.fromkeys((*left, *right)):
            mine, other = left.get(operation, _NOTHING), right.get(operation, _NOTHING)
            writer.writerow((operation, *mine, *other))


def read(path: Path) -> dict[str, tuple[str, str]]:
    """Return result and seconds of the operations, by their names."""
    rows_by_name: dict[str, list[Mapping[str, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows_by_name.setdefault(row[COLUMNS[0]], []).append(row)
    return {operation: _summary(rows) for operation, rows in rows_by_name.items()}


def _summary(rows: Iterable[Mapping[str, str]]) -> tuple[str, str]:
    """Return the first result that is not ``ok``, if any, and the median of the seconds."""
    results = [row["result"] for row in rows]
    seconds = [float(row["seconds"]) for row in rows if row["seconds"]]
    result = next((result for result in results if result != "ok"), "ok")
    return result, f"{statistics.median(seconds):.1f}" if seconds else ""
