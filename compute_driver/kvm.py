# SPDX-License-Identifier: Apache-2.0
"""Whether this host's KVM can really run guests, and the evidence.

That the device node exists says little: the node may belong to something that cannot run ordinary
guests, or QEMU may not be allowed to open it.  What is looked at is the processor's flag, where the
architecture has one, and whether this process may open the node; no guest instruction is run to
prove it, and with a system libvirt QEMU's user may be another one.
"""

from __future__ import annotations

import os
from pathlib import Path

from compute_driver import architecture
from compute_driver.acceleration import Ability

DEVICE = Path("/dev/kvm")
CPUINFO = Path("/proc/cpuinfo")

#: Processor flags, one of which hardware virtualisation needs.  Architectures that are not named
#: tell by the device node alone.
_FLAGS = {
    "x86_64": ("vmx", "svm"),
    "i686": ("vmx", "svm"),
    "s390x": ("sie",),
}


def detect(host_architecture: str, device: Path = DEVICE, cpuinfo: Path = CPUINFO) -> Ability:
    """Look at the host and tell what KVM can run.

    :param host_architecture: canonical name.
    :return: the guest architectures that KVM runs here, and what was found.
    """
    obstacles = []
    flags = _FLAGS.get(host_architecture, ())
    if flags and not _has_flag(cpuinfo, flags):
        obstacles.append(f"the processor has no {' or '.join(flags)} flag")
    if not device.exists():
        obstacles.append(f"{device} does not exist")
    elif not os.access(device, os.R_OK | os.W_OK):
        obstacles.append(f"{device} exists but may not be opened by this user")
    elif obstacles:
        obstacles.append(f"{device} exists but is not backed by that processor")
    if obstacles:
        return Ability(frozenset(), ", ".join(obstacles))
    usable = {a.name for a in architecture.TABLE.values() if host_architecture in a.kvm_hosts}
    return Ability(frozenset(usable), f"hardware virtualisation and {device} are there")


def _has_flag(cpuinfo: Path, flags: tuple[str, ...]) -> bool:
    with cpuinfo.open() as lines:
        for line in lines:
            # "flags" on x86, "features" on s390x; all processors are alike.
            name, _, words = line.partition(":")
            if name.strip() in ("flags", "features"):
                return not set(flags).isdisjoint(words.split())
    return False
