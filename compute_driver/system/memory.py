# SPDX-License-Identifier: Apache-2.0
"""The memory of this machine.

Source: proc(5), ``/proc/meminfo``.
"""

from __future__ import annotations

from pathlib import Path

from compute_driver.guest import MIB


def read_meminfo() -> dict[str, int]:
    """Return the values of ``/proc/meminfo`` by name, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def total_mib() -> int:
    """Return the RAM of this machine in MiB."""
    return read_meminfo()["MemTotal"] // MIB


def limit_mib() -> int:
    """Return RAM plus swap of this machine in MiB: no guest can have more."""
    meminfo = read_meminfo()
    return (meminfo["MemTotal"] + meminfo["SwapTotal"]) // MIB
