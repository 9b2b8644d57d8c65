# SPDX-License-Identifier: Apache-2.0
"""What nova's monitors and administrators ask of the host itself.

Source: proc(5).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system import programs, tools

#: What ``/proc/stat`` begins with for each processor: proc(5).
_STATES = ("user", "nice", "kernel", "idle", "iowait", "irq", "softirq")
_NANOSECONDS = 10**9


def uptime() -> str:
    """Return since when the host has been up, and its load, in the words of program uptime.

    :raises MissingDependency: if there is no such program.
    """
    path = tools.locate("uptime")
    if path is None:
        raise exceptions.MissingDependency("there is no program uptime (Debian package procps)")
    return programs.run([path], environment={"LC_ALL": "C"}, timeout=10).output.strip()


def cpu_stats() -> dict[str, int]:
    """Return what the processors spent their time on since start in ns, and their speed in MHz.

    As libvirt has it, ``nice`` is the user's time, and that of interrupts the kernel's.
    """
    counts = Path("/proc/stat").read_text().split(maxsplit=len(_STATES) + 1)[1:-1]
    ticks = dict(zip(_STATES, map(int, counts), strict=True))
    per_second = os.sysconf("SC_CLK_TCK")
    speed = re.search(r"^cpu MHz\s*: (\d+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    ticks["user"] += ticks.pop("nice")
    ticks["kernel"] += ticks.pop("irq") + ticks.pop("softirq")
    return {
        **{name: count * _NANOSECONDS // per_second for name, count in ticks.items()},
        "frequency": int(speed[1]) if speed else 0,
    }
