# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: an instance's use of resources, in both of nova's forms."""

from __future__ import annotations

from typing import Any

from nova.compute import power_state
from nova.objects import diagnostics

from compute_driver.guest import MIB, Guest
from compute_driver.info import GuestStats
from compute_driver.nova import power
from compute_driver.nova.section import Section


class DiagnosticsMethods(Section):
    """Returns an instance's use of resources."""

    def get_diagnostics(self, instance: Any) -> dict[str, int | str]:
        (stats,) = self._driver.stats(instance.uuid)
        return as_dict(stats)

    def get_instance_diagnostics(self, instance: Any) -> diagnostics.Diagnostics:
        (stats,) = self._driver.stats(instance.uuid)
        return as_object(stats, self._driver.show(instance.uuid).guest)


def as_dict(stats: GuestStats) -> dict[str, int | str]:
    """Return the form of the compute API before version 2.48.

    A counter that libvirt does not count is left out, and so is an unknown reason for the state.
    """
    counters: dict[str, int | str | None] = {
        f"cpu{number}_time": time for number, time in enumerate(stats.vcpu_times_ns)
    }
    counters["memory"] = counters["memory-actual"] = stats.memory_bytes // 1024
    counters["memory-rss"] = stats.resident_bytes // 1024
    counters["state_reason"] = stats.state_reason or None
    for disk in stats.disks:
        counters |= {
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_write_req": disk.write_requests,
        }
    for interface in stats.interfaces:
        counters |= {
            f"{interface.name}_rx": interface.received_bytes,
            f"{interface.name}_rx_packets": interface.received_packets,
            f"{interface.name}_tx": interface.sent_bytes,
            f"{interface.name}_tx_packets": interface.sent_packets,
        }
    return {name: number for name, number in counters.items() if number is not None}


def as_object(stats: GuestStats, guest: Guest) -> diagnostics.Diagnostics:
    """Return the form of the compute API from version 2.48 on."""
    filled = diagnostics.Diagnostics(
        state=power_state.STATE_MAP[power.STATES[stats.state]],
        driver="libvirt",
        hypervisor="qemu",
        hypervisor_os="linux",
        config_drive=guest.config_drive is not None,
        num_cpus=0,
        num_nics=0,
        num_disks=0,
    )
    filled.memory_details = diagnostics.MemoryDiagnostics(
        maximum=guest.memory_mib, used=(stats.used_bytes or stats.memory_bytes) // MIB
    )
    for number, time in enumerate(stats.vcpu_times_ns):
        filled.add_cpu(id=number, time=time)
    for disk in stats.disks:
        filled.add_disk(
            read_bytes=disk.read_bytes,
            read_requests=disk.read_requests,
            write_bytes=disk.write_bytes,
            write_requests=disk.write_requests,
        )
    for interface, counters in zip(guest.interfaces, stats.interfaces, strict=False):
        filled.add_nic(
            mac_address=interface.mac,
            rx_octets=counters.received_bytes,
            rx_packets=counters.received_packets,
            tx_octets=counters.sent_bytes,
            tx_packets=counters.sent_packets,
        )
    return filled
