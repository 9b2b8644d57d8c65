# SPDX-License-Identifier: Apache-2.0
"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Iterable

import rich.console
import rich.progress

from benchmarks.report import Report


def parser(name: str, description: str, count: int) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks.

    :param name: of the benchmark's module.
    :param description: its first line goes into the help.
    :param count: rounds by default.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=description.partition("\n")[0]
    )
    made.add_argument("--count", type=int, default=count, metavar="N", help=f"rounds; {count}")
    made.add_argument(
        "--json", action="store_true", help="print a line of JSON, with every single value"
    )
    return made


def options(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of this process, after the preparation that every benchmark needs."""
    parsed = made.parse_args()
    if parsed.count < 1:
        made.error("argument --count: at least 1")
    logging.basicConfig(level=logging.ERROR)
    # SIGTERM unwinds, so guests and daemons end with the benchmark.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    return parsed


def rounds(count: int) -> Iterable[object]:
    """Return an item for each round, and show the progress on standard error."""
    console = rich.console.Console(stderr=True)
    return rich.progress.track(range(count), "rounds", console=console, transient=True)


def show(report: Report, *, as_json: bool) -> int:
    """Print a report, and on standard error the aims that it misses.

    :return: the exit status: 1 if the report misses an aim.
    """
    print(json.dumps(report.as_json()) if as_json else report.as_text().rstrip())
    missed = report.missed()
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0
