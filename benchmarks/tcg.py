# SPDX-License-Identifier: Apache-2.0
"""Boot an emulated guest and let it work: this driver, nova's defaults and hand-tuned QEMU.

``python -m benchmarks.tcg --nova PYTHON`` from the top of a checkout.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks import command, measure, process, rivals, ways
from benchmarks.report import Report

BASELINE = "driver"

_BEGIN = "WORK-BEGIN"
_END = "WORK-END"

#: The guest's work: checksums of much data (little code, translated once), a compressor, many short
#: processes (page tables, much kernel code) and two interpreters.
SCRIPT = f"""#!/bin/sh
sleep 1
echo {_BEGIN} >/dev/console
dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum
gzip -6 </bin/busybox | gunzip | md5sum
i=0; while [ $i -lt 150 ]; do /bin/busybox true; i=$((i+1)); done
awk 'BEGIN {{ for (i = 0; i < 60000; i++) {{ s += i * 1.5; a[i % 1000] = s }} print s }}'
i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done
echo {_END} >/dev/console
"""


def live(way: ways.Way) -> measure.Sample:
    """Boot one guest and let it work.

    :return: seconds from the beginning of the spawn to the ``banner``, those of the ``work``, and
        the processor seconds that QEMU used for each.
    """
    way.prepare()
    try:
        began = time.perf_counter()
        way.spawn()
        way.wait()
        banner = time.perf_counter() - began
        pid = process.find(way.guest.uuid)
        banner_cpu = process.cpu_seconds(pid)
        way.wait(_BEGIN)
        began, used = time.perf_counter(), process.cpu_seconds(pid)
        way.wait(_END)
        return {
            "banner": banner,
            "banner CPU": banner_cpu,
            "work": time.perf_counter() - began,
            "work CPU": process.cpu_seconds(pid) - used,
        }
    finally:
        way.destroy()


def run(count: int, nova: str | None) -> Report:
    """Run the benchmark.

    :param count: rounds.
    :param nova: a Python that has nova; None leaves nova out.
    """
    describe = functools.partial(ways.describe, SCRIPT.encode())
    made: dict[str, Callable[[], ways.Way]] = {
        "driver": functools.partial(ways.Driver, cached=True, describe=describe, virt_type="qemu"),
        "qemu": functools.partial(rivals.HandTunedQemu, describe=describe),
    }
    if nova is not None:
        made["nova"] = functools.partial(rivals.NovaLibvirt, interpreter=nova, describe=describe)
    with contextlib.ExitStack() as stack:
        runs: dict[str, Callable[[], measure.Sample]] = {}
        for name, make in made.items():
            way = make()
            stack.callback(way.close)
            runs[name] = functools.partial(live, way)
        taken: Mapping[str, measure.Samples] = measure.interleave(runs, command.rounds(count))
    return Report(benchmark="tcg", conditions={"rounds": count}, baseline=BASELINE, taken=taken)


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("tcg", __doc__, count=5)
    parser.add_argument(
        "--nova",
        metavar="PYTHON",
        default=sys.executable if importlib.util.find_spec("nova.conf") else None,
        help="an interpreter that has nova 34 (this one if it has nova); else nova is left out",
    )
    options = command.options(parser)
    return command.show(run(options.count, options.nova), as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
