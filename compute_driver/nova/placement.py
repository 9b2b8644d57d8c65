# SPDX-License-Identifier: Apache-2.0
"""The host's resources and traits for placement and for nova's scheduler.

This module does not import nova and changes nothing.  Sources: the names of os-traits; libvirt's
names of CPU features.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from compute_driver.choices import Accelerator
from compute_driver.guest import GIB, MIB
from compute_driver.hardware import architecture
from compute_driver.hardware.machines import Machine
from compute_driver.info import BIOS, UEFI, UEFI_WITH_SECURE_BOOT, ArchitectureInfo, HostInfo
from compute_driver.system import files

#: The traits of the accelerator that runs guests of the host's own architecture.
ACCELERATORS = {
    accelerator: f"CUSTOM_ACCELERATOR_{accelerator.upper()}" for accelerator in Accelerator
}

#: The traits of CPU features, without ``HW_CPU_X86_``.  The trait of another feature is the
#: feature's name in capitals.
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

#: The trait of a host that has the firmware for secure boot.
SECURE_BOOT = "COMPUTE_SECURITY_UEFI_SECURE_BOOT"

_FIRMWARE = {
    BIOS: "COMPUTE_FIRMWARE_BIOS",
    UEFI: "COMPUTE_FIRMWARE_UEFI",
    UEFI_WITH_SECURE_BOOT: SECURE_BOOT,
}

#: The beginnings of the traits that this driver removes if they are not true.  This driver never
#: sets some of them, but nova's own driver may have set them.
_REMOVABLE = (
    *(_X86, "COMPUTE_ARCH_", "COMPUTE_FIRMWARE_", "COMPUTE_GRAPHICS_MODEL_", "HW_ARCH_"),
    *("COMPUTE_SECURITY_TPM_", SECURE_BOOT, "COMPUTE_VIOMMU_MODEL_", "HW_CPU_HYPERTHREADING"),
    *("COMPUTE_NET_VIF_MODEL_", "COMPUTE_NET_VIRTIO_PACKED", "COMPUTE_SOUND_MODEL_"),
    *("COMPUTE_STORAGE_BUS_", "COMPUTE_USB_MODEL_"),
)

#: Architectures with another name in traits.
_ARCHITECTURES = {"armv7l": "armv7"}


def totals(host: HostInfo) -> dict[str, int]:
    """Return the host's resources by resource class, in the unit of the class."""
    return {
        "VCPU": host.cpus,
        "MEMORY_MB": host.memory_bytes // MIB,
        "DISK_GB": host.disk_bytes // GIB,
    }


def inventory(
    total: Mapping[str, int], reserved: Mapping[str, int], ratios: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return placement's inventory, without resource classes that the host does not have.

    :param total: the host's resources by resource class.
    :param reserved: the part of the total that guests cannot have.
    :param ratios: the allocation ratios of the rest.
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


def cache_gib(cache: Path, instances: Path) -> int:
    """Return the space of a cache of images in GiB, rounded up.

    :param cache: the directory of the cache.
    :param instances: the directory of the guests.
    :return: 0 if the cache is on another file system than the guests, or does not exist.
    """
    if not cache.exists() or not instances.exists():
        return 0
    if cache.stat().st_dev != instances.stat().st_dev:
        return 0
    sizes = (files.allocated(path) for path in cache.iterdir() if path.is_file())
    return -(-sum(sizes) // GIB)


def traits(host: HostInfo, known: Collection[str]) -> set[str]:
    """Return the host's traits.

    :param known: all standard traits; other standard names are left out.
    """
    own = architecture.of_host()
    names = {name for info in _running(host) for name in _traits(info, own)}
    return {name for name in names if name in known or name.startswith("CUSTOM_")}


def outdated(present: Iterable[str], host_traits: Collection[str]) -> set[str]:
    """Return the traits of a provider that this driver removes, because the host lacks them.

    :param present: the provider's traits in placement.
    :param host_traits: the host's traits.
    """
    removable = (*_REMOVABLE, *ACCELERATORS.values())
    return {name for name in present if name.startswith(removable)} - set(host_traits)


def _running(host: HostInfo) -> list[ArchitectureInfo]:
    """Return the architectures whose guests this host can run."""
    return [info for info in host.architectures if info.accelerator is not None]


def _traits(info: ArchitectureInfo, own: str) -> Iterator[str]:
    name = _ARCHITECTURES.get(info.architecture, info.architecture).upper()
    yield f"COMPUTE_ARCH_{name}"
    if info.architecture != own:
        return
    yield f"HW_ARCH_{name}"
    if info.accelerator is not None:
        yield ACCELERATORS[info.accelerator]
    for feature in info.cpu_features:
        for suffix in _FEATURES.get(feature, (feature.upper(),)):
            yield f"{_X86}{suffix}"
    yield from (_FIRMWARE[word] for word in info.firmware or ())
    yield from _devices(architecture.get(info.architecture).machines, info.absent_devices)


def required_features(extra_specs: Mapping[str, str]) -> set[str]:
    """Return the CPU features that a flavor requires by traits ``HW_CPU_X86_...``.

    A trait of several features, or of a feature under two names, stands for the first.
    """
    features = {suffix: feature for feature, names in _FEATURES.items() for suffix in names}
    found = set()
    for name, value in extra_specs.items():
        match = re.fullmatch(rf"trait\d*:{_X86}(.+)", name)
        if match is not None and value == "required":
            found.add(features.get(match[1], match[1].lower()))
    return found


def _devices(machines: Iterable[Machine], absent: Collection[str]) -> Iterator[str]:
    """Yield the traits of devices.

    :param absent: see :class:`ArchitectureInfo`.
    """
    for machine in machines:
        for prefix, family, models in (
            ("COMPUTE_STORAGE_BUS", "disk bus", machine.buses),
            ("COMPUTE_NET_VIF_MODEL", "nic model", machine.nics),
            ("COMPUTE_GRAPHICS_MODEL", "video", machine.videos),
            ("COMPUTE_SOUND_MODEL", "sound", machine.sounds),
            ("COMPUTE_USB_MODEL", "usb_model", machine.usbs),
        ):
            for model in models:
                if f"{family} {model}" not in absent:
                    yield f"{prefix}_{model.upper().replace('-', '_')}"
        if not machine.mmio:
            yield "COMPUTE_NET_VIRTIO_PACKED"


def supported_instances(host: HostInfo, known: Collection[str]) -> list[tuple[str, str, str]]:
    """Return architecture, hypervisor type and mode of the guests that the host can run.

    A host with KVM has type ``qemu`` too: images for KVM often have ``img_hv_type=qemu``.

    :param known: nova's architectures; nova rejects a host with another architecture.
    """
    return [
        (info.architecture, hypervisor, "hvm")
        for info in _running(host)
        if info.architecture in known
        for hypervisor in (("kvm", "qemu") if info.accelerator is Accelerator.KVM else ("qemu",))
    ]


def resources(host: HostInfo, vcpus_used: int, known: Collection[str]) -> dict[str, Any]:
    """Return the host's resources for nova's resource tracker.

    :param vcpus_used: the number of vCPUs of all guests.
    :param known: see :func:`supported_instances`.
    """
    own = next((i for i in host.architectures if i.architecture == architecture.of_host()), None)
    total = totals(host)
    return {
        "vcpus": total["VCPU"],
        "memory_mb": total["MEMORY_MB"],
        "local_gb": total["DISK_GB"],
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
    }


def _version(text: str) -> int:
    """Return a version as one number, as libvirt does: 7002022 for 7.2.22."""
    number = 0
    for part in (*text.split("."), "0", "0")[:3]:
        number = number * 1000 + (int(part) if part.isdecimal() else 0)
    return number
