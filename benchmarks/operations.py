# SPDX-License-Identifier: Apache-2.0
"""Operations on a guest that runs: this driver and plain libvirt side by side.

``python -m benchmarks.operations`` from the top of a checkout.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks import command, measure, ways
from benchmarks.report import Report
from compute_driver.choices import RebootKind

BASELINE = "libvirt"

WAYS: Mapping[str, type[ways.Driver | ways.PlainLibvirt]] = {
    "driver": ways.Driver,
    "libvirt": ways.PlainLibvirt,
}

#: The operations in turn, with the operation of the driver and the calls of libvirt.
OPERATIONS: Mapping[
    str, tuple[Callable[[ways.Driver], object], Callable[[ways.PlainLibvirt], object]]
] = {
    "pause": (lambda way: way.driver.pause(way.guest.uuid), lambda way: way.domain.suspend()),
    "resume": (lambda way: way.driver.resume(way.guest.uuid), lambda way: way.domain.resume()),
    "suspend": (
        lambda way: way.driver.suspend(way.guest.uuid),
        lambda way: way.domain.managedSave(),
    ),
    "resume from disk": (
        lambda way: way.driver.resume(way.guest.uuid),
        lambda way: way.domain.create(),
    ),
    "stop": (lambda way: way.driver.stop(way.guest.uuid), ways.PlainLibvirt.stop),
    "start": (lambda way: way.driver.start(way.guest.uuid), lambda way: way.domain.create()),
    "hard reboot": (
        lambda way: way.driver.reboot(way.guest.uuid, kind=RebootKind.HARD),
        ways.PlainLibvirt.reset,
    ),
}


def live(way: ways.Driver | ways.PlainLibvirt) -> measure.Sample:
    """Take one guest through all operations; return the seconds of each."""
    way.prepare()
    taken = {}
    way.spawn()
    try:
        way.wait()
        for name, (ours, plain) in OPERATIONS.items():
            began = time.perf_counter()
            if isinstance(way, ways.Driver):
                ours(way)
            else:
                plain(way)
            taken[name] = time.perf_counter() - began
    finally:
        way.destroy()
    return taken


def run(count: int) -> Report:
    """Run the benchmark.

    :param count: rounds.
    """
    kinds = {name: functools.partial(kind, cached=True) for name, kind in WAYS.items()}
    with ways.opened(kinds) as opened:
        runs = {name: functools.partial(live, way) for name, way in opened.items()}
        taken = measure.interleave(runs, command.rounds(count))
    return Report(
        benchmark="operations", conditions={"rounds": count}, baseline=BASELINE, taken=taken
    )


def main() -> int:
    """Run the command line and return its exit status."""
    options = command.options(command.parser("operations", __doc__, count=10))
    return command.show(run(options.count), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
