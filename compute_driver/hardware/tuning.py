# SPDX-License-Identifier: Apache-2.0
"""How a guest is run where it does not say: its processor and its emulator's memory.

Pure: everything follows from the guest, its accelerator and what the operator configured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import Cpu, Guest
from compute_driver.hardware import architecture

HOST_MODEL = "host-model"
HOST_PASSTHROUGH = "host-passthrough"
MAXIMUM = "maximum"

#: The program itself and its libraries, in MiB.
_PROGRAM_MIB = 64
#: Stack and state of a virtual processor's thread.
_VCPU_MIB = 8
#: Translated code with what QEMU notes of it, relative to the code alone.
_BOOKKEEPING = 1.15
#: A display's memory.
_VIDEO_MIB = 16
#: So much of the guest's memory needs one part of the host's to be mapped.
_MEMORY_PER_PAGE_TABLES = 512

#: Words that are libvirt's CPU modes; all others name a model.
CPU_MODES = frozenset({HOST_MODEL, HOST_PASSTHROUGH, MAXIMUM})
_OF_THE_HOST = frozenset({HOST_MODEL, HOST_PASSTHROUGH})


def cpu(
    guest: Guest, accelerator: Accelerator, *, kvm_mode: str, tcg_models: Mapping[str, str]
) -> Cpu:
    """Return the processor that a guest gets: the guest's word, the operator's, the table's.

    Features that the guest names change whichever model that is.  Emulation has no host processor
    to show; a guest that asks for it gets the most that can be emulated, or the default, so that
    the same guest runs with and without KVM.

    :param kvm_mode: see option ``kvm_cpu_mode``.
    :param tcg_models: see option ``tcg_cpu_models``.
    :raises InvalidParameter: if its cores cannot have as many threads, or if there is no
        hypervisor to hide.
    """
    facts = architecture.get(guest.architecture)
    _check_threads(guest, facts, accelerator)
    default = default_model(facts, accelerator, kvm_mode=kvm_mode, tcg_models=tcg_models)
    model = guest.cpu.model or default
    if accelerator is Accelerator.TCG and model in _OF_THE_HOST - {*facts.emulated_cpu_modes}:
        model = next(iter(facts.emulated_cpu_modes), facts.emulated_cpu)
    return dataclasses.replace(
        guest.cpu,
        model=model,
        enable=tuple(dict.fromkeys(guest.cpu.enable)),
        disable=tuple(dict.fromkeys((*guest.cpu.disable, *_hidden(guest, facts, accelerator)))),
    )


def _hidden(
    guest: Guest, facts: architecture.Architecture, accelerator: Accelerator
) -> tuple[str, ...]:
    """Return the features that would tell of emulation; KVM's signature is libvirt's to hide."""
    if not guest.hide_hypervisor:
        return ()
    if not facts.signed:
        accepted = f"off: processors of {facts.name} do not tell"
        raise exceptions.InvalidParameter("hide_hypervisor", True, accepted)
    return ("hypervisor",) if accelerator is Accelerator.TCG else ()


def default_model(
    facts: architecture.Architecture,
    accelerator: Accelerator,
    *,
    kvm_mode: str,
    tcg_models: Mapping[str, str],
) -> str | None:
    """Return the CPU model of a guest that names none; parameters as for :func:`cpu`."""
    if accelerator is Accelerator.KVM:
        return kvm_mode if kvm_mode in facts.kvm_cpu_modes else facts.kvm_cpu_modes[0]
    return tcg_models.get(facts.name, facts.emulated_cpu)


def _check_threads(
    guest: Guest, facts: architecture.Architecture, accelerator: Accelerator
) -> None:
    several = facts.threads and (facts.emulated_threads or accelerator is Accelerator.KVM)
    topology = guest.cpu.topology
    if topology is not None and topology.threads > 1 and not several:
        refusal = exceptions.NotOnThisHost if facts.threads else exceptions.InvalidParameter
        raise refusal(
            "cpu threads", topology.threads, f"1 in each core of {facts.name} under {accelerator}"
        )


def translation_buffer_mib(guest_memory_mib: int, host_memory_mib: int) -> int:
    """Return how much translated code an emulated guest should keep, in MiB.

    Measured with compilers and interpreters in guests of 1 and 2 GiB: with 32 MiB they take half
    as long again as with 64, with 256 an eighth less, with 512 no less. QEMU's own choice is an
    eighth of the host's memory, up to 1024 MiB, for each guest.
    """
    return max(64, min(256, guest_memory_mib // 8, host_memory_mib // 32))


def qemu_translation_buffer_mib(host_memory_mib: int) -> int:
    """Return how much translated code QEMU keeps if nothing is said, in MiB.

    Source: QEMU, ``tcg/region.c``.
    """
    return min(1024, host_memory_mib // 8)


def overhead_mib(
    guest: Guest, accelerator: Accelerator, translation_buffer_mib: int, *, uefi: bool
) -> int:
    """Return what memory the guest's emulator takes besides the guest's own, in MiB: at most.

    The parts are those of KubeVirt's estimate (GetMemoryOverhead), held against what QEMU 7.2 was
    seen to take, and the translated code of an emulated guest.

    :param translation_buffer_mib: how much of that is kept.
    :param uefi: whether the emulator keeps UEFI firmware.
    """
    overhead = _PROGRAM_MIB + (guest.video_ram_mib or _VIDEO_MIB) + _VCPU_MIB * guest.vcpus
    overhead += guest.memory_mib // _MEMORY_PER_PAGE_TABLES
    if uefi:
        overhead += architecture.get(guest.architecture).firmware_mib
    if accelerator is Accelerator.TCG:
        overhead += math.ceil(translation_buffer_mib * _BOOKKEEPING)
    return overhead
