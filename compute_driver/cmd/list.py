# SPDX-License-Identifier: Apache-2.0
"""``list``: list the guests."""

from __future__ import annotations

import argparse
from typing import Any

from compute_driver.cmd.columns import Lines, Lister
from compute_driver.info import GuestInfo


class List(Lister):
    """List all guests of this driver."""

    columns = (
        "UUID",
        "Name",
        "State",
        "State Reason",
        "Architecture",
        "Accelerator",
        "VCPUs",
        "Memory MiB",
        "Addresses",
        "Published",
    )

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        return self.columns, [_row(info) for info in self.operate()]


def _row(info: GuestInfo) -> list[Any]:
    guest = info.guest
    return [
        guest.uuid,
        guest.name,
        str(info.state),
        info.state_reason or ("in rescue" if guest.rescue else ""),
        guest.architecture,
        str(info.accelerator),
        guest.vcpus,
        guest.memory_mib,
        Lines([address.address for address in guest.addresses]),
        Lines([str(port) for port in guest.published]),
    ]
