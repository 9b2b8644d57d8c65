# SPDX-License-Identifier: Apache-2.0
"""The processor of a guest."""

from __future__ import annotations

import dataclasses

from compute_driver.guest.bounds import (
    MAX_VCPUS,
    WORD,
    require,
    require_match,
    require_whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """Arrangement of the guest's virtual processors; the product is their number."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            require_whole(f"cpu {field.name}", value, 1, MAX_VCPUS, field.name)

    @property
    def vcpus(self) -> int:
        """Number of virtual processors."""
        return self.sockets * self.cores * self.threads


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processor that the guest sees.

    :param model: a named CPU model, ``host-model``, ``host-passthrough`` or ``maximum``;
        None means the default of the architecture and accelerator.
    :param enable: features in addition to the model's, by libvirt's names.
    :param disable: features that the processor does not have, by libvirt's names.
    :param topology: arrangement of the processors; None means one socket for each.
    """

    model: str | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    topology: Topology | None = None

    def __post_init__(self) -> None:
        require_match(WORD, "cpu", self.model, "a CPU model name")
        for name in (*self.enable, *self.disable):
            require_match(WORD, "cpu feature", name, "a CPU feature's name")
        both = sorted({*self.enable} & {*self.disable})
        require(not both, "cpu feature", ", ".join(both), "a feature either enabled or disabled")
