# SPDX-License-Identifier: Apache-2.0
"""What processor the guest sees.

Source: libvirt, "Domain XML format", "CPU model and topology".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.acceleration import Accelerator
from compute_driver.architecture import Architecture
from compute_driver.guest import Guest
from compute_driver.xml.elements import E, Element

_PASSTHROUGH = "host-passthrough"
#: Words that are libvirt's CPU modes; all others name a model.
_MODES = frozenset({"host-model", _PASSTHROUGH, "maximum"})


def model(guest: Guest, facts: Architecture, accelerator: Accelerator) -> list[Element]:
    """Return ``<cpu>``, or nothing to have QEMU's default.

    Attribute ``check`` is left out: libvirt then demands every feature of the model under KVM
    and takes what the emulator has under TCG.

    :raises InvalidParameter: if the host's own processor is asked for under emulation.
    """
    default = facts.accelerated_cpu if accelerator is Accelerator.KVM else facts.emulated_cpu
    name = guest.cpu.model or default
    if name is None:
        return []
    if name == _PASSTHROUGH and accelerator is not Accelerator.KVM:
        raise exceptions.InvalidParameter(
            "cpu", name, "without KVM: a model's name, host-model or maximum"
        )
    if name in _MODES:
        return [E.cpu(mode=name)]
    return [E.cpu(E.model(name, fallback="forbid"), mode="custom", match="exact")]
