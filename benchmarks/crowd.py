# SPDX-License-Identifier: Apache-2.0
"""Spawn and destroy many guests, some at a time: this driver and plain libvirt side by side.

``python -m benchmarks.crowd`` from the top of a checkout.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks import command, measure, ways
from benchmarks.report import Report, Span
from compute_driver import exceptions
from compute_driver.guest import Guest, Image
from tests.functional import base, boot_sectors

BASELINE = "libvirt"

WAYS: Mapping[str, type[ways.Driver | ways.PlainLibvirt]] = {
    "driver": ways.Driver,
    "libvirt": ways.PlainLibvirt,
}

MEMORY_MIB = 32


def describe() -> Guest:
    """Return a new guest that leaves the processors to the others."""
    image = base.state_path() / "idle.raw"
    if not image.exists():
        image.write_bytes(boot_sectors.dots())
    return ways.describe(image=Image(location=str(image)), memory_mib=MEMORY_MIB)


def live(
    way: ways.Way, guests: int, at_once: int, spans: dict[str, Sequence[Span]]
) -> measure.Sample:
    """Spawn guests and destroy them.

    :param way: takes one guest; a copy takes each guest.
    :param guests: the number of guests.
    :param at_once: how many threads spawn guests.
    :param spans: receives begin and end of each guest, by phase, in seconds.
    :return: seconds that all guests together took, by phase.
    """
    members = [copy.copy(way) for _ in range(guests)]
    for member in members:
        member.prepare()
    taken = {}
    phases: Mapping[str, Callable[[ways.Way], None]] = {
        "spawn": lambda member: member.spawn(),
        "destroy": lambda member: member.destroy(),
    }
    try:
        for phase, call in phases.items():
            began = time.perf_counter()
            with ThreadPoolExecutor(at_once) as pool:
                spans[phase] = list(pool.map(functools.partial(_timed, call, began), members))
            taken[phase] = time.perf_counter() - began
    except BaseException:
        for member in members:
            with contextlib.suppress(exceptions.GuestNotFound):
                member.destroy()
        raise
    return taken


def _timed(call: Callable[[ways.Way], None], origin: float, member: ways.Way) -> Span:
    began = time.perf_counter() - origin
    call(member)
    return began, time.perf_counter() - origin


def run(count: int, guests: int, at_once: int) -> Report:
    """Run the benchmark.

    :param count: rounds.
    :param guests: see :func:`live`.
    :param at_once: likewise.
    """
    kinds = {name: functools.partial(kind, cached=True) for name, kind in WAYS.items()}
    with ways.opened(kinds, describe) as opened:
        spans: dict[str, dict[str, Sequence[Span]]] = {name: {} for name in opened}
        runs = {
            name: functools.partial(live, way, guests, at_once, spans[name])
            for name, way in opened.items()
        }
        taken = measure.interleave(runs, command.rounds(count))
    return Report(
        benchmark="crowd",
        conditions={"rounds": count, "guests": guests, "at once": at_once},
        baseline=BASELINE,
        taken=taken,
        spans=spans,
    )


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("crowd", __doc__, count=3)
    parser.add_argument("--guests", type=int, default=50, metavar="N", help="guests; 50")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="threads; 8")
    options = command.options(parser)
    report = run(options.count, options.guests, options.at_once)
    return command.show(report, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
