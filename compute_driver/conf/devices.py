# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]`` for processors, disks and network cards of all guests."""

from __future__ import annotations

from oslo_config import cfg, types

from compute_driver import exceptions
from compute_driver.choices import CacheMode, SourceKind
from compute_driver.guest import Cpu
from compute_driver.guest.bounds import WORD
from compute_driver.hardware import cpu_set

#: The most pairs of queues that Linux gives a device of a network card.
MAX_QUEUES = 256

_HARD = "A change takes effect at the next power-on or hard reboot of a guest."


class CpuSet(types.ConfigType):
    """Numbers of the host's processors."""

    accepted = cpu_set.ACCEPTED

    def __init__(self) -> None:
        super().__init__(type_name="set of processors")

    def __call__(self, value: object) -> str:
        """Return the set in its shortest form."""
        return cpu_set.shown(cpu_set.parse(str(value)))

    def __repr__(self) -> str:
        return "CpuSet"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def _formatter(self, value: str) -> str:
        return value


def cpu_model(name: str) -> str:
    """Return the name of a CPU model.

    :raises ValueError: if no model can have the name.
    """
    try:
        Cpu(model=name)
    except exceptions.InvalidParameter as error:
        raise ValueError(str(error)) from error
    return name


class CpuModelNames(types.List):
    """Names of CPU models."""

    accepted = "names of CPU models, such as Haswell,Nehalem"

    def __init__(self) -> None:
        super().__init__(type_name="CPU models")

    def __call__(self, value: object) -> list[str]:
        """Return the names."""
        return [cpu_model(name) for name in super().__call__(value)]


class CpuFeatures(types.List):
    """CPU features, each with a sign."""

    accepted = "features such as +pcid or -vmx; a feature without a sign is added"

    def __init__(self) -> None:
        super().__init__(type_name="CPU features")

    def __call__(self, value: object) -> list[str]:
        """Return the features in lower case, each with its sign."""
        words = [word.lower() for word in super().__call__(value)]
        words = [word if word.startswith(("+", "-")) else f"+{word}" for word in words]
        for word in words:
            if not WORD.fullmatch(word[1:]):
                raise ValueError(f"{word!r} names no feature")
            if word[0] == "+" and f"-{word[1:]}" in words:
                raise ValueError(f"feature {word[1:]} is both added and removed")
        return words


class CacheModes(types.Dict):
    """Cache modes by the kind of a disk's source."""

    accepted = (
        f"pairs such as file:none, of sources ({', '.join(SourceKind)}) and modes"
        f" ({', '.join(CacheMode)})"
    )

    def __init__(self) -> None:
        super().__init__(type_name="cache modes by kind of source")

    def __call__(self, value: object) -> dict[str, str]:
        """Return the modes by the kinds of sources."""
        pairs = super().__call__(value).items()
        return {str(SourceKind(kind)): str(CacheMode(mode)) for kind, mode in pairs}


OPTIONS = [
    cfg.Opt(
        "cpu_models",
        type=CpuModelNames(),
        default=[],
        help="CPU models of guests of the host's own architecture that name no model, if the "
        "guests run under the accelerator of virt_type. The first model is the default. Within "
        "nova, an instance whose flavor requires CPU features by traits gets the first model with "
        "these features. Unset, kvm_cpu_mode or tcg_cpu_models applies. Within nova the default is "
        "[libvirt] cpu_models.",
    ),
    cfg.Opt(
        "cpu_features",
        type=CpuFeatures(),
        default=[],
        help="CPU features that are added to (+pcid) or removed from (-vmx) the CPU model of "
        "guests of the host's own architecture, if the guests run under the accelerator of "
        "virt_type. A guest's own features win. Within nova the default is [libvirt] "
        "cpu_model_extra_flags.",
    ),
    cfg.Opt(
        "guest_cpus",
        type=CpuSet(),
        help="The host's processors on which all virtual processors and emulators of guests run, "
        "such as 4-12,^8,15. The host reports the number of these processors. Unset, guests run on "
        "all processors. Within nova the default is [compute] cpu_shared_set. " + _HARD,
    ),
    cfg.Opt(
        "disk_cache_modes",
        type=CacheModes(),
        default={},
        help="Cache modes of disks, by the kind of a disk's source, such as file:none. Unset, QEMU "
        "uses writeback, which honours the guest's flushes; 'none' and 'directsync' need a file "
        "system with O_DIRECT. Within nova the default is [libvirt] disk_cachemodes. " + _HARD,
    ),
    cfg.StrOpt(
        "disk_discard",
        default="unmap",
        choices=[
            ("unmap", "the guest's discards (TRIM) free space of the host"),
            ("ignore", "the guest's discards have no effect"),
        ],
        help="What discards of a guest do. Within nova the default is [libvirt] hw_disk_discard, "
        "or unmap if hw_disk_discard is unset. " + _HARD,
    ),
    cfg.BoolOpt(
        "preallocate_disks",
        default=False,
        help="Whether a disk takes all its space on the host's file system at its making and at a "
        "resize, so that a full file system cannot stop the guest later. Within nova the default "
        "is true if nova's preallocate_images is 'space'.",
    ),
    cfg.IntOpt(
        "nic_rx_queue_size",
        choices=[256, 512, 1024],
        help="Number of packets in a receive queue of a virtio network card. Unset, QEMU's choice: "
        "256. Within nova the default is [libvirt] rx_queue_size. " + _HARD,
    ),
    cfg.IntOpt(
        "nic_max_queues",
        min=1,
        max=MAX_QUEUES,
        help="The most pairs of queues that a network card gets; a guest that asks for more gets "
        "this number. Unset, there is no limit. Within nova the default is [libvirt] max_queues. "
        + _HARD,
    ),
]
