# SPDX-License-Identifier: Apache-2.0
"""Limits of a guest's use of shared resources of the host.

The value 0 always means no limit.
"""

from __future__ import annotations

import dataclasses

from compute_driver import exceptions

#: The longest wait in seconds: poll(2) takes milliseconds as an int, 24 days at most.
MAX_SECONDS = 2_000_000

#: The largest age in seconds, some 68 years.
MAX_AGE = 2**31 - 1

#: Bounds of libvirt and of the kernel's CFS bandwidth control.
_MAX_RATE = 2**63 - 1
_MAX_KIB = 2**31 - 1
_CPU_PERIOD = (1_000, 1_000_000)
_CPU_QUOTA = (1_000, 17_592_186_044_415)
_CPU_SHARES = (1, 262_144)


def _bounded(field: str, value: int, low: int, high: int, unit: str) -> None:
    if value and not low <= value <= high:
        accepted = f"{low} to {high} {unit}, or 0 for no limit"
        raise exceptions.InvalidParameter(field, value, accepted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskLimits:
    """Limits of each disk of a guest, in bytes or operations per second.

    A total limit excludes limits of reads and writes.
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
            _bounded(f"disk {field.name}", value, 1, _MAX_RATE, "per second")
        for unit in ("bytes", "iops"):
            total = getattr(self, f"total_{unit}_sec")
            if total and any(getattr(self, f"{way}_{unit}_sec") for way in ("read", "write")):
                accepted = f"a limit of the total {unit} or of reads and writes, not both"
                raise exceptions.InvalidParameter(f"disk total_{unit}_sec", total, accepted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """Limits of an interface's traffic in one direction.

    :param average: average rate in KiB per second.
    :param peak: rate during a burst, in KiB per second.
    :param burst: size of a burst in KiB.
    """

    average: int = 0
    peak: int = 0
    burst: int = 0

    def __post_init__(self) -> None:
        if not self.average:
            accepted = "an average in KiB per second, with a peak or a burst"
            raise exceptions.InvalidParameter("nic bandwidth average", None, accepted)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _bounded(f"nic bandwidth {field.name}", value, 1, _MAX_KIB, "KiB")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CpuLimits:
    """Limits of a guest's virtual processors.

    :param shares: weight of the guest among all guests.
    :param period_us: length of a period in microseconds.
    :param quota_us: time in each period that each virtual processor may run, in microseconds.
    """

    shares: int = 0
    period_us: int = 0
    quota_us: int = 0

    def __post_init__(self) -> None:
        _bounded("cpu shares", self.shares, *_CPU_SHARES, "shares")
        _bounded("cpu period", self.period_us, *_CPU_PERIOD, "microseconds")
        _bounded("cpu quota", self.quota_us, *_CPU_QUOTA, "microseconds")
