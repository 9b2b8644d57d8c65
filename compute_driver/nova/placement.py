# SPDX-License-Identifier: Apache-2.0
"""What nova's scheduler is told of this host: resources and traits, as they really are.

Pure, and without nova.  Sources: the names of os-traits; libvirt's names of CPU features.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from compute_driver.choices import Accelerator
from compute_driver.guest import GIB, MIB
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.info import ArchitectureInfo, HostInfo

#: What runs the guests of the host's own architecture; those of others are always emulated.
ACCELERATORS = {each: f"CUSTOM_ACCELERATOR_{each.upper()}" for each in Accelerator}

#: Features whose traits are not ``HW_CPU_X86_`` and their names in capitals.
_FEATURES = {
    "aes": ("AESNI",),
    "amx-bf16": ("AMXBF16",),
    "amx-int8": ("AMXINT8",),
    "amx-tile": ("AMXTILE",),
    "avx512-vpopcntdq": ("AVX512VPOPCNTDQ",),
    "bmi1": ("BMI",),
    "fma": ("FMA3",),
    "gfni": ("AVX512GFNI",),
    "ibpb": ("AMD_IBPB",),
    "md-clear": ("INTEL_MD_CLEAR",),
    "pcid": ("INTEL_PCID",),
    "pclmuldq": ("CLMUL",),
    "pni": ("SSE3",),
    "rtm": ("TSX",),
    "sha-ni": ("SHA",),
    "spec-ctrl": ("INTEL_SPEC_CTRL",),
    "sse4.1": ("SSE41",),
    "sse4.2": ("SSE42",),
    "svm": ("SVM", "AMD_SVM"),
    "vaes": ("AVX512VAES",),
    "vmx": ("VMX", "INTEL_VMX"),
    "vpclmulqdq": ("AVX512VPCLMULQDQ",),
}

_X86 = "HW_CPU_X86_"

#: Traits with these beginnings are this module's to set and to take away, some only the latter:
#: nova's own driver may have set them.
_OURS = (
    *(_X86, "COMPUTE_ARCH_", "COMPUTE_FIRMWARE_", "COMPUTE_GRAPHICS_MODEL_", "HW_ARCH_"),
    *("COMPUTE_SECURITY_TPM_", "COMPUTE_VIOMMU_MODEL_", "HW_CPU_HYPERTHREADING"),
    *("COMPUTE_NET_VIF_MODEL_", "COMPUTE_NET_VIRTIO_PACKED", "COMPUTE_SOUND_MODEL_"),
    *("COMPUTE_STORAGE_BUS_", "COMPUTE_USB_MODEL_"),
)

#: Nova's words for architectures that differ from ours in traits.
_ARCHITECTURES = {"armv7l": "armv7"}


def totals(host: HostInfo) -> dict[str, int]:
    """Return what the host has, by resource class and in its unit."""
    return {
        "VCPU": host.cpus,
        "MEMORY_MB": host.memory_bytes // MIB,
        "DISK_GB": host.disk_bytes // GIB,
    }


def inventory(
    total: Mapping[str, int], reserved: Mapping[str, int], ratios: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return placement's inventory, without classes of which there is nothing.

    :param total: by resource class, what there is.
    :param reserved: how much of that is not for guests.
    :param ratios: how often the rest may be given away.
    """
    return {
        name: {
            "total": amount,
            "min_unit": 1,
            "max_unit": amount,
            "step_size": 1,
            "reserved": reserved[name],
            "allocation_ratio": ratios[name],
        }
        for name, amount in total.items()
        if amount > 0
    }


def traits(host: HostInfo, known: Collection[str]) -> set[str]:
    """Return the traits that the host has.

    :param known: all standard traits; what they have no name for is left out.
    """
    own = architecture.of_host()
    found = {trait for info in _running(host) for trait in _traits(info, own)}
    return {trait for trait in found if trait in known or trait.startswith("CUSTOM_")}


def unfounded(present: Iterable[str], host_traits: Collection[str]) -> set[str]:
    """Return those of a provider's traits that this driver sets and that do not hold any more."""
    ours = (*_OURS, *ACCELERATORS.values())
    return {trait for trait in present if trait.startswith(ours)} - set(host_traits)


def _running(host: HostInfo) -> list[ArchitectureInfo]:
    return [info for info in host.architectures if info.accelerator is not None]


def _traits(info: ArchitectureInfo, own: str) -> Iterator[str]:
    word = _ARCHITECTURES.get(info.architecture, info.architecture).upper()
    yield f"COMPUTE_ARCH_{word}"
    if info.architecture != own:
        return
    yield f"HW_ARCH_{word}"
    if info.accelerator is not None:
        yield ACCELERATORS[info.accelerator]
    for feature in info.cpu_features:
        for name in _FEATURES.get(feature, (feature.upper(),)):
            yield f"{_X86}{name}"
    for firmware in info.firmware or ():  # that for secure boot is a capability of the driver
        yield f"COMPUTE_FIRMWARE_{firmware.upper()}"
    yield from _devices(architecture.get(info.architecture).machines)


def _devices(machines: Iterable[Machine]) -> Iterator[str]:
    for machine in machines:
        for prefix, models in (
            ("COMPUTE_STORAGE_BUS", machine.buses),
            ("COMPUTE_NET_VIF_MODEL", machine.nics),
            ("COMPUTE_GRAPHICS_MODEL", machine.videos),
            ("COMPUTE_SOUND_MODEL", machine.sounds),
            ("COMPUTE_USB_MODEL", machine.usbs),
        ):
            for model in models:
                yield f"{prefix}_{model.upper().replace('-', '_')}"
        if not machine.mmio:
            yield "COMPUTE_NET_VIRTIO_PACKED"


def supported_instances(host: HostInfo, known: Collection[str]) -> list[tuple[str, str, str]]:
    """Return architecture, hypervisor type and mode of all guests that really run.

    Images made for KVM often say ``qemu``: what runs with the one runs with the other.

    :param known: architectures that nova knows: it records nothing of a host that has others.
    """
    return [
        (info.architecture, hypervisor, "hvm")
        for info in _running(host)
        if info.architecture in known
        for hypervisor in (("kvm", "qemu") if info.accelerator is Accelerator.KVM else ("qemu",))
    ]


def resources(
    host: HostInfo, vcpus_used: int, uptime: str, known: Collection[str]
) -> dict[str, Any]:
    """Return what nova's resource tracker records of the host.

    :param vcpus_used: how many processors all guests have together.
    :param known: see :func:`supported_instances`.
    """
    own = next((i for i in host.architectures if i.architecture == architecture.of_host()), None)
    there_are = totals(host)
    return {
        "vcpus": there_are["VCPU"],
        "memory_mb": there_are["MEMORY_MB"],
        "local_gb": there_are["DISK_GB"],
        "vcpus_used": vcpus_used,
        "memory_mb_used": (host.memory_bytes - host.memory_free_bytes) // MIB,
        "local_gb_used": (host.disk_bytes - host.disk_free_bytes) // GIB,
        "disk_available_least": host.disk_free_bytes // GIB,
        "hypervisor_type": "QEMU",
        "hypervisor_version": _version(host.qemu_version),
        "hypervisor_hostname": host.hostname,
        "cpu_info": json.dumps(
            {
                "arch": architecture.of_host(),
                "features": sorted(own.cpu_features) if own else [],
            }
        ),
        "supported_instances": supported_instances(host, known),
        "numa_topology": None,
        "stats": {"uptime": uptime},
    }


def _version(text: str) -> int:
    """Return a version as libvirt writes it in one number: 7.2.22 as 7002022."""
    number = 0
    for part in (*text.split("."), "0", "0")[:3]:
        number = number * 1000 + (int(part) if part.isdecimal() else 0)
    return number
