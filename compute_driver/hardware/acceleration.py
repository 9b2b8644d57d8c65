# SPDX-License-Identifier: Apache-2.0
"""KVM or TCG, and why: one pure decision for each guest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from compute_driver import exceptions
from compute_driver.choices import Accelerator, VirtType
from compute_driver.hardware import architecture


@dataclasses.dataclass(frozen=True)
class Ability:
    """Whether KVM runs guests on this host, and the evidence.

    :param architectures: guest architectures that KVM can run here; empty if unusable.
    :param reason: the evidence, in plain words.
    :param lacking: why KVM cannot run an architecture that other hosts of this kind can run.
    :param remedy: the change that makes KVM usable; empty if KVM is usable.
    :param proven: whether this process saw the evidence itself; if not, libvirt's answer decides.
    """

    architectures: frozenset[str]
    reason: str
    lacking: Mapping[str, str] = dataclasses.field(default_factory=dict)
    remedy: str = ""
    proven: bool = True

    def why_not(self, guest_architecture: str) -> str:
        """Return why KVM cannot run guests of an architecture."""
        return self.lacking.get(guest_architecture, self.reason)

    def without(self, guest_architecture: str, reason: str, remedy: str = "") -> Ability:
        """Return this ability without one architecture, for the given reason."""
        return dataclasses.replace(
            self,
            architectures=self.architectures - {guest_architecture},
            lacking={**self.lacking, guest_architecture: reason},
            remedy=remedy or self.remedy,
        )


@dataclasses.dataclass(frozen=True)
class Decision:
    """The accelerator of one guest and the reason.

    :param fallback: whether the operator asked for KVM and the guest gets emulation.
    """

    accelerator: Accelerator
    reason: str
    fallback: bool = False


def decide(
    virt_type: VirtType,
    guest_architecture: str,
    host_architecture: str,
    look: Callable[[], Ability],
    *,
    emulation_fallback: bool,
) -> Decision:
    """Choose the accelerator for one guest.

    A guest of a foreign architecture is always emulated: KVM can only run the host's own.

    :param look: returns what KVM can run on this host; called only where the answer matters.
    :raises AccelerationUnavailable: if KVM is demanded, KVM cannot run the guest, and
        *emulation_fallback* is off.
    """
    if virt_type is VirtType.QEMU:
        return Decision(Accelerator.TCG, "virt_type is qemu: emulation as configured")
    if host_architecture not in architecture.get(guest_architecture).kvm_hosts:
        return Decision(
            Accelerator.TCG,
            f"KVM on {host_architecture} cannot run {guest_architecture} guests: emulation",
        )
    ability = look()
    if guest_architecture in ability.architectures:
        return Decision(Accelerator.KVM, f"virt_type is kvm: {ability.reason}")
    reason = f"no usable KVM for {guest_architecture} guests: {ability.why_not(guest_architecture)}"
    if not emulation_fallback:
        raise exceptions.AccelerationUnavailable(
            f"virt_type is kvm and emulation_fallback is off, but there is {reason};"
            " set virt_type = qemu or emulation_fallback = true to emulate"
        )
    return Decision(Accelerator.TCG, f"{reason}; emulation instead", fallback=True)
