# SPDX-License-Identifier: Apache-2.0
"""Spawn, boot and destroy a guest: this driver, plain libvirt and plain QEMU side by side.

``python -m benchmarks.lifecycle`` from the top of a checkout.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import signal
import sys
import time
from collections.abc import Mapping

import rich.console
import rich.progress

from benchmarks import measure, ways
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
    :param cached: whether the image is there already.
    :param boot: whether the guests boot to their banner.
    """
    bar = rich.progress.track(
        range(count), "rounds", console=rich.console.Console(stderr=True), transient=True
    )
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, kind in WAYS.items():
            way = kind(cached=cached)
            stack.callback(way.close)
            runs[name] = functools.partial(live, way, boot=boot)
        taken = measure.interleave(runs, bar)
    return Report(
        benchmark="lifecycle",
        conditions={"rounds": count, "image": "cached" if cached else "cold"},
        baseline=BASELINE,
        taken=taken,
    )


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lifecycle", description=__doc__)
    parser.add_argument("--count", type=int, default=10, metavar="N", help="rounds; 10")
    parser.add_argument(
        "--image",
        choices=["cached", "cold"],
        default="cached",
        help="whether it was fetched before, or is fetched (plain ways: copied) for each guest",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every single value")
    parser.add_argument(
        "--boot",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="wait for the guest's banner",
    )
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("argument --count: at least 1")
    logging.basicConfig(level=logging.ERROR)
    # So that guests and daemon end, too, when somebody ends this.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    report = run(arguments.count, cached=arguments.image == "cached", boot=arguments.boot)
    print(json.dumps(report.as_json(), indent=2) if arguments.json else report.as_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
