# SPDX-License-Identifier: Apache-2.0
"""What tells libvirt and the emulator which devices and processors a guest can have."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import Accelerator
from compute_driver.hardware.description import Hardware


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of guest.

    :param emulator: path of the emulator.
    :param architecture: canonical name of the guest's architecture.
    :param machine: QEMU machine type.
    :param accelerator: how the guest's instructions run.
    """

    emulator: str
    architecture: str
    machine: str
    accelerator: Accelerator

    def __str__(self) -> str:
        return f"{self.architecture}-{self.machine}-{self.accelerator}"

    @classmethod
    def of(cls, hardware: Hardware, emulator: str) -> Kind:
        """Return the kind of the guests with that hardware.

        :param emulator: path of the emulator.
        """
        return cls(
            emulator=emulator,
            architecture=hardware.architecture.name,
            machine=hardware.machine,
            accelerator=hardware.accelerator,
        )

    @property
    def words(self) -> tuple[str, str, str, str]:
        """The arguments of ``virConnectGetDomainCapabilities``."""
        return self.emulator, self.architecture, self.machine, self.accelerator.domain_type
