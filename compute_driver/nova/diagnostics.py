# SPDX-License-Identifier: Apache-2.0
"""A guest's use of resources in both of nova's forms."""

from __future__ import annotations

from nova.objects import diagnostics

from compute_driver.guest import MIB, Guest
from compute_driver.info import GuestStats


def as_dict(stats: GuestStats) -> dict[str, int]:
    """Return the form without rules, of the compute API before 2.48, without what nobody counts."""
    found: dict[str, int | None]
    found = {f"cpu{number}_time": time for number, time in enumerate(stats.vcpu_times_ns)}
    found["memory"] = stats.memory_bytes // 1024
    for disk in stats.disks:
        found |= {
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_write_req": disk.write_requests,
        }
    for interface in stats.interfaces:
        found |= {
            f"{interface.name}_rx": interface.received_bytes,
            f"{interface.name}_rx_packets": interface.received_packets,
            f"{interface.name}_tx": interface.sent_bytes,
            f"{interface.name}_tx_packets": interface.sent_packets,
        }
    return {name: number for name, number in found.items() if number is not None}


def as_object(stats: GuestStats, guest: Guest, state: str) -> diagnostics.Diagnostics:
    """Return the form of the compute API from 2.48 on.

    :param state: by nova's word.
    """
    found = diagnostics.Diagnostics(
        state=state,
        driver="libvirt",
        hypervisor="qemu",
        hypervisor_os="linux",
        config_drive=guest.config_drive is not None,
        num_cpus=0,
        num_nics=0,
        num_disks=0,
    )
    found.memory_details = diagnostics.MemoryDiagnostics(
        maximum=guest.memory_mib, used=stats.memory_bytes // MIB
    )
    for number, time in enumerate(stats.vcpu_times_ns):
        found.add_cpu(id=number, time=time)
    for disk in stats.disks:
        found.add_disk(
            read_bytes=disk.read_bytes,
            read_requests=disk.read_requests,
            write_bytes=disk.write_bytes,
            write_requests=disk.write_requests,
        )
    for interface, counters in zip(guest.interfaces, stats.interfaces, strict=False):
        found.add_nic(
            mac_address=interface.mac,
            rx_octets=counters.received_bytes,
            rx_packets=counters.received_packets,
            tx_octets=counters.sent_bytes,
            tx_packets=counters.sent_packets,
        )
    return found
