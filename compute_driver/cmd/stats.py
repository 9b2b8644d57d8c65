# SPDX-License-Identifier: Apache-2.0
"""``stats``: show the use of resources by guests."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from compute_driver.cmd import verb
from compute_driver.cmd.columns import Lister
from compute_driver.guest import MIB
from compute_driver.info import GuestStats


class Stats(Lister):
    """Show the use of resources by one guest or by all guests."""

    columns = (
        "UUID",
        "Name",
        "State",
        "State Reason",
        "VCPUs",
        "CPU Seconds",
        "Memory MiB",
        "Used MiB",
        "Resident MiB",
        "Read Bytes",
        "Written Bytes",
        "Received Bytes",
        "Sent Bytes",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser, optional=True)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        guest = None if parsed_args.guest is None else self.find(parsed_args.guest)
        rows = [_row(stats) for stats in self.operate(guest)]
        return self.columns, rows


def _row(stats: GuestStats) -> list[Any]:
    return [
        stats.uuid,
        stats.name,
        str(stats.state),
        stats.state_reason,
        stats.vcpus,
        round(stats.cpu_time_ns / 1e9, 2) if stats.answers else None,
        stats.memory_bytes // MIB,
        None if stats.used_bytes is None else stats.used_bytes // MIB,
        stats.resident_bytes // MIB if stats.answers else None,
        sum(disk.read_bytes for disk in stats.disks) if stats.answers else None,
        sum(disk.write_bytes for disk in stats.disks) if stats.answers else None,
        _sum([nic.received_bytes for nic in stats.interfaces]),
        _sum([nic.sent_bytes for nic in stats.interfaces]),
    ]


def _sum(counters: Sequence[int | None]) -> int | None:
    """Return the sum of the known counters; None if counters exist and none is known."""
    known = [counter for counter in counters if counter is not None]
    return sum(known) if known or not counters else None
