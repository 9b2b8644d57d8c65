# SPDX-License-Identifier: Apache-2.0
"""The table of results: operation, result, seconds."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path

#: Variable with the path of the table; without the variable there is no table.
VARIABLE = "COMPUTE_DRIVER_CLOUD_RESULTS"

COLUMNS = ("operation", "result", "seconds")


def forget() -> None:
    """Remove the table of an earlier run."""
    if VARIABLE in os.environ:
        Path(os.environ[VARIABLE]).unlink(missing_ok=True)


@contextlib.contextmanager
def recorded(operation: str) -> Iterator[None]:
    """Add a line about the block: ``ok``, or the name of the error that the block raises."""
    result, begin = "ok", time.monotonic()
    try:
        yield
    except BaseException as error:
        result = type(error).__name__
        raise
    finally:
        _add(operation, result, time.monotonic() - begin)


def note(operation: str, result: str) -> None:
    """Add a line without a time, such as for an operation that a driver lacks."""
    _add(operation, result, None)


def _add(operation: str, result: str, seconds: float | None) -> None:
    if VARIABLE not in os.environ:
        return
    path = Path(os.environ[VARIABLE])
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        writer.writerow((operation, result, "" if seconds is None else f"{seconds:.1f}"))
