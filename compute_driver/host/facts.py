# SPDX-License-Identifier: Apache-2.0
"""The description of the host: its resources and its abilities.

Source: Linux, "ABI/testing/sysfs-devices-system-cpu".
"""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.hardware import cpu_set
from compute_driver.info import HostInfo
from compute_driver.libvirt.connection import Connection, version
from compute_driver.system import memory
from compute_driver.system.filesystem import existing_parent

if TYPE_CHECKING:
    from compute_driver.host.detection import Detection

#: The kernel's list of the processors that run.
_ONLINE = Path("/sys/devices/system/cpu/online")


class Host:
    """The host that runs the guests.

    :param conf: configuration with group ``[hypervisor]``.
    :param connection: the gateway to libvirt.
    """

    def __init__(self, conf: cfg.ConfigOpts, connection: Connection) -> None:
        self._conf = conf
        self._connection = connection
        self._instances = Path(conf.hypervisor.instances_path)

    @cached_property
    def detection(self) -> Detection:
        """Finds out what the host can run."""
        from compute_driver.host.detection import Detection

        return Detection(self._conf, self._connection)

    @property
    def architecture(self) -> str:
        """The architecture of the host."""
        return self.detection.architecture

    def show(self, architectures: Collection[str] = ()) -> HostInfo:
        """Describe the host.

        :param architectures: architectures to describe in full, besides the configured ones.
        :raises InvalidParameter: if the driver does not support one; names the supported ones.
        :raises ConfigurationError: if the host lacks a processor of option guest_cpus.
        """
        meminfo = memory.read_meminfo()
        disk = os.statvfs(existing_parent(self._instances))
        infos = tuple(self.detection.architectures(architectures))
        versions = {info.architecture: info.emulator_version for info in infos}
        return HostInfo(
            hostname=self._connection.run(libvirt.virConnect.getHostname),
            driver="libvirt",
            connection_uri=self._connection.uri,
            libvirt_version=dotted(self._connection.run(version)),
            # libvirt starts every emulator to find QEMU's version.
            qemu_version=versions.get(self.architecture)
            or next(filter(None, versions.values()), ""),
            virt_type=self._conf.hypervisor.virt_type,
            cpus=count_cpus(self._conf.hypervisor.guest_cpus),
            memory_bytes=meminfo["MemTotal"],
            memory_free_bytes=meminfo["MemAvailable"],
            disk_bytes=disk.f_blocks * disk.f_frsize,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            architectures=infos,
        )


def count_cpus(chosen: str | None) -> int:
    """Return the number of processors for guests.

    :param chosen: the processors of option ``guest_cpus``; None means all processors.
    :raises ConfigurationError: if a processor is not online.
    """
    if chosen is None:
        return os.cpu_count() or 1
    cpus, online = cpu_set.parse(chosen), cpu_set.parse(_ONLINE.read_text())
    if not cpus <= online:
        missing, accepted = cpu_set.shown(cpus - online), cpu_set.shown(online)
        raise exceptions.ConfigurationError(
            f"guest_cpus in [hypervisor]: processors {missing} are not online; accepted: {accepted}"
        )
    return len(cpus)


def dotted(version: int) -> str:
    """Return the usual text of a version that libvirt encodes in one number."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
