# SPDX-License-Identifier: Apache-2.0
"""The operator's settings that hold for the hardware of all guests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a host; an empty text or 0 leaves a setting to QEMU.

    :param guest_cpus: the host's processors on which guests run; empty for all processors.
    :param disk_cache_modes: see the option of that name.
    :param disk_discard: likewise.
    :param nic_rx_queue_size: likewise.
    :param nic_max_queues: likewise; 0 means no limit.
    """

    guest_cpus: str = ""
    disk_cache_modes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    disk_discard: str = "unmap"
    nic_rx_queue_size: int = 0
    nic_max_queues: int = 0

    @classmethod
    def of(cls, options: Any) -> Settings:
        """Return the settings of the configuration.

        :param options: group ``[hypervisor]``.
        """
        return cls(
            guest_cpus=options.guest_cpus or "",
            disk_cache_modes=options.disk_cache_modes,
            disk_discard=options.disk_discard,
            nic_rx_queue_size=options.nic_rx_queue_size or 0,
            nic_max_queues=options.nic_max_queues or 0,
        )
