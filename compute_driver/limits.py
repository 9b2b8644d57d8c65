# SPDX-License-Identifier: Apache-2.0
"""How much a guest may use of what the host shares among all.

Everywhere 0 means that there is no limit.
"""

from __future__ import annotations

import dataclasses

from compute_driver import exceptions

#: libvirt's own bounds, and those of the kernel's CFS bandwidth control.
_MAX_RATE = 2**63 - 1
_MAX_KIB = 2**31 - 1
_CPU_PERIOD = (1_000, 1_000_000)
_CPU_QUOTA = (1_000, 17_592_186_044_415)
_CPU_SHARES = (1, 262_144)


def _bounded(field: str, value: int, low: int, high: int, unit: str) -> None:
    if value and not low <= value <= high:
        raise exceptions.InvalidParameter(field, value, f"{low} to {high} {unit}, or 0 for any")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskLimits:
    """How fast each disk of a guest may be; of total and single limits, one or the other.

    The fields are bytes, or operations, a second.
    """

    read_bytes_sec: int = 0
    write_bytes_sec: int = 0
    total_bytes_sec: int = 0
    read_iops_sec: int = 0
    write_iops_sec: int = 0
    total_iops_sec: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _bounded(f"disk {field.name}", value, 1, _MAX_RATE, "a second")
        for what in ("bytes", "iops"):
            total = getattr(self, f"total_{what}_sec")
            if total and any(getattr(self, f"{way}_{what}_sec") for way in ("read", "write")):
                accepted = f"a limit of the total or of reads and writes, not both, of {what}"
                raise exceptions.InvalidParameter(f"disk total_{what}_sec", total, accepted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """How much may pass an interface in one direction.

    :param average: in KiB a second, over time.
    :param peak: in KiB a second, for as long as the burst lasts.
    :param burst: in KiB.
    """

    average: int = 0
    peak: int = 0
    burst: int = 0

    def __post_init__(self) -> None:
        if not self.average:
            accepted = "an average in KiB a second, with a peak or a burst"
            raise exceptions.InvalidParameter("nic bandwidth average", None, accepted)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _bounded(f"nic bandwidth {field.name}", value, 1, _MAX_KIB, "KiB")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CpuLimits:
    """How much of the host's processors a guest may use.

    :param shares: its weight against that of others.
    :param period_us: in microseconds.
    :param quota_us: how much of each period each virtual processor may run, in microseconds.
    """

    shares: int = 0
    period_us: int = 0
    quota_us: int = 0

    def __post_init__(self) -> None:
        _bounded("cpu shares", self.shares, *_CPU_SHARES, "shares")
        _bounded("cpu period", self.period_us, *_CPU_PERIOD, "microseconds")
        _bounded("cpu quota", self.quota_us, *_CPU_QUOTA, "microseconds")
