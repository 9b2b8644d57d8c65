# SPDX-License-Identifier: Apache-2.0
"""How much memory this machine has.

Source: proc(5), ``/proc/meminfo``.
"""

from __future__ import annotations

from pathlib import Path

from compute_driver.guest import MIB


def read() -> dict[str, int]:
    """Return the numbers of ``/proc/meminfo`` by their names, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def total_mib() -> int:
    """Return the RAM of this machine in MiB."""
    return read()["MemTotal"] // MIB


def limit_mib() -> int:
    """Return RAM and swap of this machine together, in MiB: no guest can have more."""
    memory = read()
    return (memory["MemTotal"] + memory["SwapTotal"]) // MIB
