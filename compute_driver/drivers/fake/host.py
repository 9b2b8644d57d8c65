# SPDX-License-Identifier: Apache-2.0
"""The list of simulated guests, and the host."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Collection

from compute_driver.choices import ACTIVE, InterfaceKind
from compute_driver.driver import Listener
from compute_driver.drivers.fake.machine import Machine, Machines
from compute_driver.guest import Interface, as_uuid
from compute_driver.hardware import architecture
from compute_driver.info import (
    ArchitectureInfo,
    Check,
    DiskStats,
    Finding,
    GuestInfo,
    GuestStats,
    HostInfo,
    InterfaceStats,
)


class Host(Machines):
    """Lists the simulated guests and describes the real host."""

    def list(self) -> tuple[GuestInfo, ...]:
        return tuple(machine.info() for machine in self._all())

    def find(self, guest: str) -> str:
        uuid = as_uuid(guest)
        return uuid if uuid in self._released else super().find(guest)

    def show(self, uuid: str) -> GuestInfo:
        with self._machine(uuid) as machine:
            return machine.info()

    def subscribe(self, listener: Listener) -> None:
        self._listeners += (listener,)

    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        if uuid is None:
            return tuple(map(_stats, self._all()))
        with self._machine(uuid) as machine:
            return (_stats(machine),)

    def host_show(self, architectures: Collection[str] = ()) -> HostInfo:
        for name in architectures:
            architecture.get(name)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        used = sum(stats.memory_bytes for stats in self.stats())
        disk = shutil.disk_usage("/")
        return HostInfo(
            hostname=socket.gethostname(),
            driver="fake",
            connection_uri="fake:///memory",
            libvirt_version="",
            qemu_version="",
            virt_type=self.conf.hypervisor.virt_type,
            cpus=os.cpu_count() or 1,
            memory_bytes=memory,
            memory_free_bytes=max(0, memory - used),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            architectures=tuple(map(self._architecture, architecture.TABLE)),
        )

    def _architecture(self, name: str) -> ArchitectureInfo:
        decision = self._decide(name)
        return ArchitectureInfo(
            architecture=name,
            emulator=architecture.get(name).emulator,
            accelerator=decision.accelerator,
            reason=decision.reason,
        )

    def host_check(self) -> tuple[Check, ...]:
        return (
            Check(
                subject="driver",
                verdict="warning",
                detail="guests are simulated in memory and end with this process",
                remedy="set driver = libvirt to run real guests",
            ),
        )

    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        return ()  # memory has no leftovers

    def close(self) -> None:
        """Do nothing: the driver has neither connections nor threads."""


def _stats(machine: Machine) -> GuestStats:
    guest = machine.guest
    active = machine.state in ACTIVE
    disks = sum(disk is not None for disk in (guest.root, *guest.ephemerals, guest.swap))
    ran = int((time.monotonic() - machine.booted) * 1e9)
    return GuestStats(
        uuid=guest.uuid,
        name=guest.name,
        state=machine.state,
        state_reason=machine.state_reason,
        vcpus=guest.vcpus,
        vcpu_times_ns=(ran,) * guest.vcpus if active else (),
        memory_bytes=guest.memory_mib * 1024**2 if active else 0,
        resident_bytes=guest.memory_mib * 1024**2 if active else 0,
        used_bytes=guest.memory_mib * 1024**2 // 2 if active and guest.balloon else None,
        disks=tuple(
            DiskStats(
                name=f"vd{chr(ord('a') + index)}",
                read_bytes=512,
                read_requests=1,
                write_bytes=0,
                write_requests=0,
            )
            for index in range(disks if active else 0)
        ),
        interfaces=tuple(
            _interface_stats(f"fake{index}", nic)
            for index, nic in enumerate(guest.interfaces if active else ())
        ),
    )


def _interface_stats(name: str, nic: Interface) -> InterfaceStats:
    counted = nic.kind is not InterfaceKind.USER
    size, packets = (64, 1) if counted else (None, None)
    return InterfaceStats(
        name=name,
        received_bytes=size,
        received_packets=packets,
        sent_bytes=size,
        sent_packets=packets,
    )
