# SPDX-License-Identifier: Apache-2.0
"""Ask for a running libvirt daemon and for a cached image, for the first time and once more.

``python -m benchmarks.warm`` from the top of a checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import command, measure
from benchmarks.report import Report
from compute_driver import conf
from compute_driver.images.cache import ImageCache
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional import base

BASELINE = "cold"

#: The most seconds that the median of each phase may be.
AIMS = {("warm", "daemon"): 0.002, ("warm", "image"): 0.002}


def ask(state: Path) -> measure.Sample:
    """Return the seconds that a daemon and an image take, as a new process asks for them."""
    loaded = conf.load(files=[os.devnull])
    loaded.set_override("state_path", str(state), group="hypervisor")
    daemon, cache, image = EmbeddedDaemon(state), ImageCache(loaded), base.disk_image()
    began = time.perf_counter()
    daemon.ensure()
    ensured = time.perf_counter()
    cache.get(image)
    got = time.perf_counter()
    daemon.close()
    return {"daemon": ensured - began, "image": got - ensured}


def cold() -> measure.Sample:
    """Ask in a state directory that is new."""
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp") as name:
        try:
            return ask(Path(name))
        finally:
            EmbeddedDaemon(Path(name)).stop()


def run(count: int) -> Report:
    """Run the benchmark.

    :param count: rounds.
    """
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp") as name:
        state = Path(name)
        try:
            ways = {"cold": cold, "warm": lambda: ask(state)}
            taken = measure.interleave(ways, command.rounds(count))
        finally:
            EmbeddedDaemon(state).stop()
    return Report(
        benchmark="warm",
        conditions={"rounds": count},
        baseline=BASELINE,
        taken=taken,
        aims=AIMS,
    )


def main() -> int:
    """Run the command line and return its exit status.

    :return: 1 if something takes longer than it should.
    """
    options = command.options(command.parser("warm", __doc__, count=10))
    return command.show(run(options.count), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
