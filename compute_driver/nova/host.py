# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: the host's resources, traits and load.

Source: proc(5).
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

import os_traits
from nova.objects import fields
from nova.virt import node

from compute_driver import exceptions
from compute_driver.nova import placement
from compute_driver.nova.section import Section
from compute_driver.system import programs, tools

#: The processor states at the beginning of ``/proc/stat``: proc(5).
_STATES = ("user", "nice", "kernel", "idle", "iowait", "irq", "softirq")
_NANOSECONDS = 10**9


class HostMethods(Section):
    """Describes the host."""

    @functools.cached_property
    def _nodename(self) -> str:
        return self._driver.host_show().hostname

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        return [self._nodename]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        vcpus_used = sum(info.guest.vcpus for info in self._driver.list())
        resources = placement.resources(
            self._driver.host_show(), vcpus_used, fields.Architecture.ALL
        )
        return {**resources, "uuid": node.get_local_node_uuid()}

    def update_provider_tree(
        self, provider_tree: Any, nodename: str, allocations: Any = None
    ) -> None:
        host = self._driver.host_show()
        provider = provider_tree.data(nodename)
        reserved = {
            "VCPU": self._conf.reserved_host_cpus,
            "MEMORY_MB": self._conf.reserved_host_memory_mb,
            "DISK_GB": self._get_reserved_host_disk_gb_from_config() + self._cache_gib(),
        }
        ratios = self._get_allocation_ratios(provider.inventory)
        inventory = placement.inventory(placement.totals(host), reserved, ratios)
        traits = placement.traits(host, os_traits.get_traits())
        provider_tree.update_inventory(nodename, inventory)
        provider_tree.add_traits(nodename, *traits)
        provider_tree.remove_traits(nodename, *placement.outdated(provider.traits, traits))

    def _cache_gib(self) -> int:
        """Return the space of the image cache that guests cannot have, if nova asks for it."""
        if not self._conf.workarounds.reserve_disk_resource_for_image_cache:
            return 0
        options = self._conf.hypervisor
        return placement.cache_gib(Path(options.image_cache_path), Path(options.instances_path))

    def get_host_uptime(self) -> str:
        return uptime()

    def get_host_cpu_stats(self) -> dict[str, int]:
        return cpu_stats()

    def get_host_ip_addr(self) -> str:
        return str(self._conf.my_ip)


def uptime() -> str:
    """Return the output of program uptime: the host's uptime and load.

    :raises MissingDependency: if the host has no program uptime.
    """
    path = tools.locate("uptime")
    if path is None:
        raise exceptions.MissingDependency("there is no program uptime (Debian package procps)")
    return programs.run([path], environment={"LC_ALL": "C"}, timeout=10).output.strip()


def cpu_stats() -> dict[str, int]:
    """Return the processors' times since the host's start in ns, and their frequency in MHz.

    As in libvirt, the user's time includes ``nice``, and the kernel's time includes interrupts.
    """
    counts = Path("/proc/stat").read_text().split(maxsplit=len(_STATES) + 1)[1:-1]
    ticks = dict(zip(_STATES, map(int, counts), strict=True))
    per_second = os.sysconf("SC_CLK_TCK")
    speed = re.search(r"^cpu MHz\s*: (\d+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    ticks["user"] += ticks.pop("nice")
    ticks["kernel"] += ticks.pop("irq") + ticks.pop("softirq")
    return {
        **{state: count * _NANOSECONDS // per_second for state, count in ticks.items()},
        "frequency": int(speed[1]) if speed else 0,
    }
