# SPDX-License-Identifier: Apache-2.0
"""Whether this host can limit guests' processors: libvirt limits them by control groups.

Sources: cgroups(7); libvirt, "Control Groups Resource Management" and "Domain XML format", "CPU
Tuning".
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from compute_driver import exceptions
from compute_driver.limits import CpuLimits

#: The table of mounted file systems.
MOUNTS = Path("/proc/mounts")

#: Lowest and highest shares of a group, by version of control groups.
_SHARES = {1: (2, 262_144), 2: (1, 10_000)}


def check_cpu_limits(limits: CpuLimits | None, connection_uri: str | None) -> None:
    """Refuse processor limits that libvirt cannot set on this host.

    :param limits: the limits; None means no limits.
    :param connection_uri: value of option ``connection_uri``.
    :raises NotOnThisHost: if libvirt cannot set the limits; names what the host needs.
    """
    if limits is None:
        return
    if not connection_uri or urlsplit(connection_uri).path != "/system":
        raise _refusal(limits, "none, unless connection_uri is the system's libvirt daemon")
    version = _version()
    if version is None:
        raise _refusal(limits, "none: this host has no control group controller for processors")
    low, high = _SHARES[version]
    if limits.shares and not low <= limits.shares <= high:
        accepted = f"{low} to {high}, the range of control groups of version {version}"
        raise exceptions.NotOnThisHost("cpu shares", limits.shares, accepted)


def _refusal(limits: CpuLimits, accepted: str) -> exceptions.NotOnThisHost:
    value = f"shares {limits.shares}, period {limits.period_us}, quota {limits.quota_us}"
    return exceptions.NotOnThisHost("cpu limits", value, accepted)


def _version() -> int | None:
    """Return the version of control groups with a cpu controller; None if the host has none."""
    for line in MOUNTS.read_text(errors="replace").splitlines():
        _device, path, kind, options, *_rest = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return 1
        if kind == "cgroup2" and "cpu" in _words(Path(path, "cgroup.controllers")):
            return 2
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
