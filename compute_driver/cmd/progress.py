# SPDX-License-Identifier: Apache-2.0
"""Progress of long steps: a bar on stderr if stderr is a terminal, else nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from compute_driver.driver import Progress, no_progress


@contextlib.contextmanager
def shown(wanted: bool = True) -> Iterator[Progress]:
    """Yield a callback for a driver's progress."""
    if not wanted or not sys.stderr.isatty():
        yield no_progress
        return
    # Slow to import, and useless without a terminal.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def report(subject: str, done: int, total: int) -> None:
            if subject not in tasks:
                tasks[subject] = bars.add_task(escape(subject))
            bars.update(tasks[subject], completed=done, total=total or None)

        yield report
