# SPDX-License-Identifier: Apache-2.0
"""Detect the host's abilities, with and without earlier results.

``python -m benchmarks.detection`` from the top of a checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import command, measure
from benchmarks.report import Report
from compute_driver import conf
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.hardware import architecture
from compute_driver.libvirt.daemon import EmbeddedDaemon

BASELINE = "cold"

PHASES = ("host show", "host check")

#: The most seconds that the median of a way may be, in each of its phases.
AIMS = {"cold": 3.0, "restarted": 0.05, "running": 0.05}


def driver(state: Path) -> LibvirtDriver:
    """Return a driver of a state directory that looks at one architecture only."""
    loaded = conf.load(files=[os.devnull])
    loaded.set_override("state_path", str(state), group="hypervisor")
    loaded.set_override("architectures", [architecture.of_host()], group="hypervisor")
    return LibvirtDriver(loaded)


def ask(asked: LibvirtDriver) -> measure.Sample:
    """Return the seconds that the host's description takes, and then its check."""
    began = time.perf_counter()
    asked.host_show()
    shown = time.perf_counter()
    asked.host_check()
    return dict(zip(PHASES, (shown - began, time.perf_counter() - shown), strict=True))


def cold() -> measure.Sample:
    """Ask without caches of the driver and of libvirt, and without a running libvirt."""
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp") as name:
        fresh = driver(Path(name))
        try:
            return ask(fresh)
        finally:
            fresh.close()
            EmbeddedDaemon(Path(name)).stop()


def restarted(state: Path) -> measure.Sample:
    """Ask as a new process, without its imports and its first connection."""
    fresh = driver(state)
    try:
        fresh.list()
        return ask(fresh)
    finally:
        fresh.close()


def run(count: int) -> Report:
    """Run the benchmark.

    :param count: rounds.
    """
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp") as name:
        kept = driver(Path(name))
        ways: dict[str, Callable[[], measure.Sample]] = {
            "cold": cold,
            "restarted": lambda: restarted(Path(name)),
            "running": lambda: ask(kept),
        }
        try:
            taken = measure.interleave(ways, command.rounds(count))
            found = kept.host_show().architectures
        finally:
            kept.close()
            EmbeddedDaemon(Path(name)).stop()
    return Report(
        benchmark="detection",
        conditions={
            "rounds": count,
            "emulators": len([each for each in found if each.emulator]),
            "started": ", ".join(e.emulator for e in found if e.emulator_version),
        },
        baseline=BASELINE,
        taken=taken,
        aims={(way, phase): aim for way, aim in AIMS.items() for phase in PHASES},
    )


def main() -> int:
    """Run the benchmark and print what it found.

    :return: the exit status: 1 if something takes longer than it should.
    """
    options = command.options(command.parser("detection", __doc__, count=5))
    return command.show(run(options.count), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
