# SPDX-License-Identifier: Apache-2.0
"""The computer that a guest's system sees."""

from __future__ import annotations

import dataclasses

from compute_driver.guest.bounds import require

#: Longest text of an identity, which catches a wrong value; SMBIOS has no limit.
_MAX_LENGTH = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """The guest's computer in the tables of the firmware (SMBIOS).

    Programs in images decide by these texts which cloud they are in.  The UUID in the tables is
    the guest's UUID.

    :param manufacturer: who made the computer.
    :param product: the computer's model.
    :param version: the model's version; empty leaves the version to QEMU.
    :param serial: the serial number; empty leaves the number to QEMU, None means the guest's UUID.
    :param family: the family of models.
    """

    manufacturer: str = "compute_driver"
    #: systemd knows a virtual machine by the beginning of this text.
    product: str = "QEMU Virtual Machine"
    version: str = ""
    serial: str | None = None
    family: str = "Virtual Machine"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name) or ""
            sound = value.isprintable() and len(value) <= _MAX_LENGTH
            accepted = f"at most {_MAX_LENGTH} printable characters"
            require(sound, f"identity {field.name}", value, accepted)
