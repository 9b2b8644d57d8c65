# SPDX-License-Identifier: Apache-2.0
"""The host: what it has, and what it can run."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import libvirt
from oslo_config import cfg

from compute_driver.host.detection import Detection
from compute_driver.info import HostInfo
from compute_driver.libvirt.connection import Connection
from compute_driver.system import memory
from compute_driver.system.filesystem import existing_parent


class Host:
    """What is known of the host that runs the guests.

    :param conf: configuration with group ``[hypervisor]``.
    :param connection: the gateway to its libvirt.
    :ivar detection: finds out what it can run.
    """

    def __init__(self, conf: cfg.ConfigOpts, connection: Connection) -> None:
        self._conf = conf
        self._connection = connection
        self._instances = Path(conf.hypervisor.instances_path)
        self.detection = Detection(conf, connection)
        self.architecture = self.detection.architecture

    def show(self, architectures: Collection[str] = ()) -> HostInfo:
        """Describe the host.

        :param architectures: those to look at in full, besides the configured ones.
        :raises InvalidParameter: if one is not supported; names those that are.
        """
        numbers = memory.read()
        disk = os.statvfs(existing_parent(self._instances))
        found = tuple(self.detection.architectures(architectures))
        versions = {info.architecture: info.emulator_version for info in found}
        return HostInfo(
            hostname=self._connection.run(libvirt.virConnect.getHostname),
            driver="libvirt",
            connection_uri=self._connection.uri,
            libvirt_version=dotted(self._connection.run(libvirt.virConnect.getLibVersion)),
            # libvirt's own word for it would start every emulator.
            qemu_version=versions.get(self.architecture)
            or next(filter(None, versions.values()), ""),
            virt_type=self._conf.hypervisor.virt_type,
            cpus=os.cpu_count() or 1,
            memory_bytes=numbers["MemTotal"],
            memory_free_bytes=numbers["MemAvailable"],
            disk_bytes=disk.f_blocks * disk.f_frsize,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            architectures=found,
        )


def dotted(version: int) -> str:
    """Return a version as people write it; libvirt has it as one number."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
