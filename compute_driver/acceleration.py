# SPDX-License-Identifier: Apache-2.0
"""KVM or TCG, and why: one pure decision for each guest."""

from __future__ import annotations

import dataclasses

from compute_driver import architecture, exceptions
from compute_driver.guest import Choice


class VirtType(Choice):
    """What the operator asks for, by option ``virt_type``."""

    KVM = "kvm"
    QEMU = "qemu"


class Accelerator(Choice):
    """What runs the guest's instructions."""

    #: The processor itself, through the kernel's KVM module.
    KVM = "kvm"
    #: QEMU's translator, Tiny Code Generator.
    TCG = "tcg"

    @property
    def domain_type(self) -> str:
        """Libvirt's ``<domain type=>`` word."""
        return "kvm" if self is Accelerator.KVM else "qemu"


@dataclasses.dataclass(frozen=True)
class Ability:
    """Whether KVM runs guests on this host, and the evidence.

    :param architectures: guest architectures that KVM can run here; empty if unusable.
    :param reason: what was found, in plain words.
    """

    architectures: frozenset[str]
    reason: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """The accelerator of one guest and the reason.

    :param fallback: whether KVM was asked for and emulation is given.
    """

    accelerator: Accelerator
    reason: str
    fallback: bool = False


def decide(
    virt_type: VirtType,
    guest_architecture: str,
    host_architecture: str,
    ability: Ability,
    *,
    emulation_fallback: bool,
) -> Decision:
    """Choose the accelerator for one guest.

    A guest of a foreign architecture is always emulated: KVM can only run the host's own.

    :raises AccelerationUnavailable: if KVM is demanded, cannot be had, and *emulation_fallback*
        is off.
    """
    if virt_type is VirtType.QEMU:
        return Decision(Accelerator.TCG, "virt_type is qemu: emulation as configured")
    if host_architecture not in architecture.get(guest_architecture).kvm_hosts:
        return Decision(
            Accelerator.TCG,
            f"KVM on {host_architecture} cannot run {guest_architecture} guests: emulation",
        )
    if guest_architecture in ability.architectures:
        return Decision(Accelerator.KVM, f"virt_type is kvm: {ability.reason}")
    if not emulation_fallback:
        raise exceptions.AccelerationUnavailable(
            f"virt_type is kvm and emulation_fallback is off, but KVM is not usable:"
            f" {ability.reason}; set virt_type = qemu or emulation_fallback = true to emulate"
        )
    return Decision(
        Accelerator.TCG, f"KVM is not usable: {ability.reason}: emulation instead", fallback=True
    )
