# SPDX-License-Identifier: Apache-2.0
"""Progress of long steps: a bar on stderr where somebody watches, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from compute_driver.driver import Progress, no_progress


@contextlib.contextmanager
def shown(wanted: bool = True) -> Iterator[Progress]:
    """Yield what a driver reports its progress to."""
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

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(escape(what))
            bars.update(tasks[what], completed=done, total=total or None)

        yield report
