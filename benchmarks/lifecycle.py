# SPDX-License-Identifier: Apache-2.0
"""Spawn, boot and destroy a guest: this driver, plain libvirt and plain QEMU side by side.

``python -m benchmarks.lifecycle`` from the top of a checkout.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Mapping

from benchmarks import command, measure, ways
from benchmarks.report import Report

BASELINE = "libvirt"

WAYS: Mapping[str, type[ways.Driver | ways.Plain]] = {
    "driver": ways.Driver,
    "libvirt": ways.PlainLibvirt,
    "qemu": ways.PlainQemu,
}


def live(way: ways.Way, *, boot: bool) -> measure.Sample:
    """Take one guest through its life.

    :param boot: wait until it is up.
    :return: seconds that ``spawn`` and ``destroy`` took, and those from the beginning of the
        spawn to the ``banner``.
    """
    way.prepare()
    taken = {}
    began = time.perf_counter()
    try:
        way.spawn()
        taken["spawn"] = time.perf_counter() - began
        if boot:
            way.wait()
            taken["banner"] = time.perf_counter() - began
    finally:
        ending = time.perf_counter()
        way.destroy()
        taken["destroy"] = time.perf_counter() - ending
    return taken


def run(count: int, *, cached: bool, boot: bool) -> Report:
    """Run the benchmark.

    :param count: rounds.
    :param cached: whether the image is in the cache already.
    :param boot: whether the guests boot to their banner.
    """
    kinds = {name: functools.partial(kind, cached=cached) for name, kind in WAYS.items()}
    with ways.opened(kinds) as opened:
        runs = {name: functools.partial(live, way, boot=boot) for name, way in opened.items()}
        taken = measure.interleave(runs, command.rounds(count))
    return Report(
        benchmark="lifecycle",
        conditions={"rounds": count, "image": "cached" if cached else "cold"},
        baseline=BASELINE,
        taken=taken,
    )


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("lifecycle", __doc__, count=10)
    parser.add_argument(
        "--image",
        choices=["cached", "cold"],
        default="cached",
        help="whether the image is in the cache, or is fetched (plain ways: copied) for each guest",
    )
    parser.add_argument(
        "--boot",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="wait for the guest's banner",
    )
    options = command.options(parser)
    report = run(options.count, cached=options.image == "cached", boot=options.boot)
    return command.show(report, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
