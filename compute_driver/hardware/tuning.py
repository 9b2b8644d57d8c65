# SPDX-License-Identifier: Apache-2.0
"""Defaults of a guest that names none: its processor and its emulator's memory.

Pure: the defaults follow from the guest, its accelerator and the configuration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import Accelerator, VirtType
from compute_driver.guest import Cpu, Guest
from compute_driver.hardware import architecture

HOST_MODEL = "host-model"
HOST_PASSTHROUGH = "host-passthrough"
MAXIMUM = "maximum"
#: An operator's word for QEMU's own choice.
NO_MODEL = "none"

#: The program itself and its libraries, in MiB.
_PROGRAM_MIB = 64
#: Stack and state of a virtual processor's thread.
_VCPU_MIB = 8
#: Translated code with QEMU's notes on the code, relative to the code alone.
_BOOKKEEPING = 1.15
#: A display's memory.
_VIDEO_MIB = 16
#: The size of guest memory for which page tables take one part of the host's memory.
_MEMORY_PER_PAGE_TABLES = 512

#: libvirt's CPU modes; every other word names a CPU model.
CPU_MODES = frozenset({HOST_MODEL, HOST_PASSTHROUGH, MAXIMUM})
_OF_THE_HOST = frozenset({HOST_MODEL, HOST_PASSTHROUGH})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CpuDefaults:
    """The operator's processors for guests that name none.

    :param kvm_mode: see option ``kvm_cpu_mode``.
    :param tcg_models: see option ``tcg_cpu_models``.
    :param models: see option ``cpu_models``.
    :param features: see option ``cpu_features``.
    :param configured: the accelerator of guests with these models and features.
    :param architecture: the host's architecture, whose guests have these models and features.
    """

    kvm_mode: str
    tcg_models: Mapping[str, str]
    models: Sequence[str] = ()
    features: Sequence[str] = ()
    configured: Accelerator = Accelerator.KVM
    architecture: str = ""

    @property
    def guests(self) -> tuple[str, Accelerator]:
        """Architecture and accelerator of the guests with these models and features."""
        return self.architecture, self.configured

    @classmethod
    def of(cls, options: Any) -> CpuDefaults:
        """Return the defaults in configuration.

        :param options: group ``[hypervisor]``.
        """
        kvm = VirtType(options.virt_type) is VirtType.KVM
        return cls(
            kvm_mode=options.kvm_cpu_mode,
            tcg_models=options.tcg_cpu_models,
            models=options.cpu_models,
            features=options.cpu_features,
            configured=Accelerator.KVM if kvm else Accelerator.TCG,
            architecture=architecture.of_host(),
        )


def cpu(guest: Guest, accelerator: Accelerator, defaults: CpuDefaults) -> Cpu:
    """Return the processor that a guest gets: the guest's choice, the operator's, the table's.

    The features that the guest names change any model.  Emulation has no host processor to show; a
    guest that asks for the host processor gets the largest model that can be emulated, or the
    default, so that the same guest runs with and without KVM.

    :raises InvalidParameter: if the guest's cores cannot have as many threads, or if processors
        of the architecture do not tell which hypervisor runs them.
    """
    facts = architecture.get(guest.architecture)
    _check_threads(guest, facts, accelerator)
    model = guest.cpu.model or default_models(facts, accelerator, defaults)[0]
    if accelerator is Accelerator.TCG and model in _OF_THE_HOST - {*facts.emulated_cpu_modes}:
        model = next(iter(facts.emulated_cpu_modes), facts.emulated_cpu)
    disable = (*guest.cpu.disable, *_hidden(guest, facts, accelerator))
    more, less = default_features(facts, accelerator, defaults) if model else ((), ())
    return dataclasses.replace(
        guest.cpu,
        model=model or None,
        enable=_joined(guest.cpu.enable, more, disable),
        disable=_joined(disable, less, guest.cpu.enable),
    )


def default_features(
    facts: architecture.Architecture, accelerator: Accelerator, defaults: CpuDefaults
) -> tuple[list[str], list[str]]:
    """Return the features that the operator adds and removes."""
    if (facts.name, accelerator) != defaults.guests:
        return [], []
    return (
        [word[1:] for word in defaults.features if word.startswith("+")],
        [word[1:] for word in defaults.features if word.startswith("-")],
    )


def _joined(own: Sequence[str], more: Sequence[str], opposite: Sequence[str]) -> tuple[str, ...]:
    """Return the guest's features, then the operator's features that the guest does not contradict.

    :param own: the features that the guest enables; or those that the guest disables.
    :param more: the features for which the operator wishes the same.
    :param opposite: the features for which the guest wishes the opposite.
    """
    return tuple(dict.fromkeys((*own, *(name for name in more if name not in opposite))))


def _hidden(
    guest: Guest, facts: architecture.Architecture, accelerator: Accelerator
) -> tuple[str, ...]:
    """Return the features that reveal emulation; libvirt hides the signature of KVM."""
    if not guest.hide_hypervisor:
        return ()
    if not facts.signed:
        accepted = f"off: processors of {facts.name} do not tell"
        raise exceptions.InvalidParameter("hide_hypervisor", True, accepted)
    return ("hypervisor",) if accelerator is Accelerator.TCG else ()


def default_models(
    facts: architecture.Architecture, accelerator: Accelerator, defaults: CpuDefaults
) -> list[str]:
    """Return the CPU models that guests get by themselves; the default is the first.

    Nova gives the other models to guests whose flavors require more features.

    :return: the models; empty text stands for QEMU's own choice.
    """
    if defaults.models and (facts.name, accelerator) == defaults.guests:
        models = [*defaults.models]
    elif accelerator is Accelerator.TCG:
        models = [defaults.tcg_models.get(facts.name, facts.emulated_cpu)]
    else:
        known = defaults.kvm_mode in (*facts.kvm_cpu_modes, NO_MODEL)
        models = [defaults.kvm_mode if known else facts.kvm_cpu_modes[0]]
    return ["" if model == NO_MODEL else model for model in models]


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
    """Return the size of an emulated guest's buffer of translated code, in MiB.

    Compilers and interpreters in guests of 1 and 2 GiB were measured: with 32 MiB they take half
    as long again as with 64 MiB, with 256 MiB an eighth less, with 512 MiB no less.  QEMU's own
    choice is an eighth of the host's memory, up to 1024 MiB, for each guest.
    """
    return max(64, min(256, guest_memory_mib // 8, host_memory_mib // 32))


def qemu_translation_buffer_mib(host_memory_mib: int) -> int:
    """Return the size that QEMU gives the buffer of translated code by itself, in MiB.

    Source: QEMU, ``tcg/region.c``.
    """
    return min(1024, host_memory_mib // 8)


def overhead_mib(
    guest: Guest, accelerator: Accelerator, translation_buffer_mib: int, *, uefi: bool
) -> int:
    """Return the most memory that the emulator takes besides the guest's memory, in MiB.

    The parts are those of KubeVirt's estimate (GetMemoryOverhead), compared with the memory of
    QEMU 7.2, and the translated code of an emulated guest.

    :param translation_buffer_mib: size of the buffer of translated code.
    :param uefi: whether the emulator keeps UEFI firmware.
    """
    overhead = _PROGRAM_MIB + (guest.video_ram_mib or _VIDEO_MIB) + _VCPU_MIB * guest.vcpus
    overhead += guest.memory_mib // _MEMORY_PER_PAGE_TABLES
    if uefi:
        overhead += architecture.get(guest.architecture).firmware_mib
    if accelerator is Accelerator.TCG:
        overhead += math.ceil(translation_buffer_mib * _BOOKKEEPING)
    return overhead
