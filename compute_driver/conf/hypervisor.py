# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]``."""

from __future__ import annotations

import math
import os
from pathlib import Path

from oslo_config import cfg, types

from compute_driver import exceptions
from compute_driver.conf import consoles, devices
from compute_driver.guest.bounds import MAX_MEMORY_MIB
from compute_driver.hardware import architecture
from compute_driver.limits import MAX_AGE, MAX_SECONDS
from compute_driver.system import home

GROUP = cfg.OptGroup(
    "hypervisor",
    title="Hypervisor",
    help="How this host runs guests, and where it keeps their files.",
)

#: The largest number of free PCI Express ports of a guest.
MAX_HOTPLUG_PORTS = 16

#: The largest whole number of a program or of libvirt, for options with a natural bound far below.
MAX_INT = 2**31 - 1


#: Directories of the Filesystem Hierarchy Standard 3.0 that many programs share.
_SHARED = frozenset(
    {
        *("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run"),
        "/tmp",  # noqa: S108
        *("/sbin", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local"),
        *("/usr/sbin", "/usr/share", "/var", "/var/cache", "/var/lib", "/var/log", "/var/spool"),
        "/var/tmp",  # noqa: S108
    }
)

#: File systems of the kernel, and the only directory in them with a tmpfs for all programs.
_KERNEL = ("/dev", "/proc", "/sys")
_MEMORY = Path("/dev/shm")  # noqa: S108 - a name to compare with


def _default_state_path() -> str | None:
    """Return the default of option ``state_path``; None for a user without a home directory."""
    if os.geteuid() == 0:
        return "/var/lib/compute-driver"
    data = home.find_base("XDG_DATA_HOME", ".local/share")
    return str(data / "compute-driver") if data else None


class Seconds(types.Float):
    """A time to wait, which is a number and ends.

    :param low: the least accepted number of seconds.
    """

    def __init__(self, low: float) -> None:
        super().__init__(low, MAX_SECONDS, type_name="seconds")

    def __call__(self, value: object) -> float:
        """Return the number of seconds."""
        seconds = float(super().__call__(value) or 0)
        if math.isnan(seconds):  # no bound excludes this value
            raise ValueError(f"{value!r} is not a number")
        return seconds


class OwnDirectory(types.ConfigType):
    """The absolute path of a directory that only this driver uses; the directory may be missing."""

    accepted = "an absolute path of a directory for this driver alone, which may be missing"
    #: The reason of a refusal is not plain from the value and the accepted values.
    tells_reason = True

    def __init__(self) -> None:
        super().__init__(type_name="absolute path")

    def __call__(self, value: object) -> str:
        """Return *value* if it is such a path, without control characters."""
        text = str(value)
        if not text.startswith("/") or not text.isprintable():
            raise ValueError(f"{text!r} is not an absolute path such as /var/lib/compute-driver")
        path = os.path.normpath(text)
        if _is_of_the_system(Path(os.path.realpath(path))):
            raise ValueError(f"{text!r} is a directory of the system")
        existing = next(place for place in (Path(path), *Path(path).parents) if _exists(place))
        try:
            is_directory = existing.is_dir()
        except PermissionError as error:
            raise ValueError(f"this user cannot reach {str(existing)!r}") from error
        if not is_directory:
            raise ValueError(f"{str(existing)!r} is not a directory")
        return path

    def __repr__(self) -> str:
        return "OwnDirectory"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def _formatter(self, value: str) -> str:
        return value


def _is_of_the_system(path: Path) -> bool:
    below = any(path.is_relative_to(top) for top in _KERNEL) and _MEMORY not in path.parents
    return below or str(path) in _SHARED


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


class Architectures(types.List):
    """Guest architectures, by any of their names."""

    accepted = f"any of {', '.join(architecture.TABLE)}"

    def __init__(self) -> None:
        super().__init__(type_name="architectures")

    def __call__(self, value: object) -> list[str]:
        """Return the canonical names."""
        return [_canonical(name) for name in super().__call__(value)]


class CpuModels(types.Dict):
    """CPU models by guest architecture."""

    accepted = f"pairs such as x86_64:Haswell, of architectures ({', '.join(architecture.TABLE)})"

    def __init__(self) -> None:
        super().__init__(type_name="CPU models by architecture")

    def __call__(self, value: object) -> dict[str, str]:
        """Return the models by the canonical names of the architectures."""
        models: dict[str, str] = {}
        for name, model in super().__call__(value).items():
            if models.setdefault(_canonical(name), devices.cpu_model(model)) != model:
                raise ValueError(f"two models for {_canonical(name)}")
        return models


def _canonical(name: str) -> str:
    try:
        return architecture.get(name).name
    except exceptions.InvalidParameter as error:
        raise ValueError(str(error)) from error


STATE_PATH = cfg.Opt(
    "state_path",
    type=OwnDirectory(),
    default=_default_state_path(),
    sample_default="/var/lib/compute-driver",
    help="Directory of all files of the driver. Ordinary users have a directory below "
    "$XDG_DATA_HOME by default. The path must be short enough for UNIX sockets.",
)

#: Why option ``state_path`` has no value.
NO_HOME = (
    f"no value, and no default, since user ID {os.geteuid()} has no home directory;"
    f" accepted: {OwnDirectory.accepted}"
)

OPTIONS = [
    cfg.StrOpt(
        "driver",
        default="libvirt",
        help="Which driver runs the guests: the name of an entry point in namespace "
        "compute_driver.drivers. 'fake' simulates guests in memory, for tests and experiments.",
    ),
    cfg.StrOpt(
        "virt_type",
        default="kvm",
        choices=[
            ("kvm", "hardware acceleration (Intel VT, AMD-V, ...) where the host has it"),
            ("qemu", "emulation by QEMU's TCG, on any host and for any guest architecture"),
        ],
        help="Whether the hardware accelerates guests, or QEMU emulates them. QEMU always emulates "
        "guests of architectures that the host's processor cannot run. Within nova the default is "
        "[libvirt] virt_type.",
    ),
    cfg.BoolOpt(
        "emulation_fallback",
        default=True,
        help="What happens when virt_type is kvm and this host has no usable KVM: true emulates "
        "the guest, with the reason in the log and in 'show'; false refuses the guest before any "
        "change.",
    ),
    cfg.StrOpt(
        "connection_uri",
        help="URI of the libvirt daemon that runs the guests; qemu:///system is the production "
        "setting. Unset, the driver starts its own libvirt daemon on demand, with its files in "
        "state_path.",
    ),
    STATE_PATH,
    cfg.Opt(
        "instances_path",
        type=OwnDirectory(),
        default="$state_path/instances",
        help="Directory with one directory for each guest: disks, config drive, console log, "
        "firmware variables.",
    ),
    cfg.Opt(
        "image_cache_path",
        type=OwnDirectory(),
        default="$state_path/images",
        help="Directory of fetched images, which are the backing files of guests' disks.",
    ),
    cfg.IntOpt(
        "image_unused_seconds",
        default=86400,
        min=0,
        max=MAX_AGE,
        help="Seconds without use after which 'image prune', or nova's periodic task, may remove "
        "an image that no guest needs. Within nova the default is [image_cache] "
        "remove_unused_original_minimum_age_seconds.",
    ),
    cfg.StrOpt(
        "disk_format",
        default="qcow2",
        choices=[
            ("qcow2", "an overlay that stores only the differences from the cached image"),
            ("raw", "a full copy: needs more space, spawns slower, does not need the cache"),
        ],
        help="Format of the guests' disks. Within nova the default comes from [libvirt] "
        "images_type and use_cow_images.",
    ),
    cfg.StrOpt(
        "kvm_cpu_mode",
        default="host-model",
        choices=[
            (
                "host-model",
                "the model nearest to the host's processor; guests can move between similar hosts",
            ),
            (
                "host-passthrough",
                "the host's processor with all its features, for guests that never move",
            ),
            ("none", "QEMU's default model"),
        ],
        help="CPU model of a guest with KVM that names no model. Architectures without models in "
        "libvirt (ARM, RISC-V) always get host-passthrough. Within nova the default is [libvirt] "
        "cpu_mode.",
    ),
    cfg.Opt(
        "tcg_cpu_models",
        type=CpuModels(),
        default={},
        help="CPU models of emulated guests that name no model, by guest architecture, such as "
        "x86_64:Haswell-noTSX,aarch64:cortex-a72; 'maximum' has all features that QEMU can "
        "emulate, 'none' is QEMU's default. Within nova, [libvirt] cpu_mode sets the model of the "
        "host's own architecture if virt_type is qemu. The default models run every common "
        "distribution and are fast to emulate.",
    ),
    cfg.IntOpt(
        "tcg_translation_buffer_mib",
        min=0,
        max=MAX_MEMORY_MIB,
        help="Memory in MiB in which QEMU keeps the translated code of an emulated guest. With a "
        "larger buffer a reboot is slow, because QEMU drops old code only when the buffer is full; "
        "with a smaller buffer QEMU translates large programs again and again. Unset, the buffer "
        "has an eighth of the guest's memory, at least 64 and at most 256, and at most a 32nd of "
        "the host's memory. 0 leaves the size to QEMU (up to 1024). Within nova "
        "the default is [libvirt] tb_cache_size.",
    ),
    cfg.IntOpt(
        "hotplug_ports",
        default=1,
        min=0,
        max=MAX_HOTPLUG_PORTS,
        help="Number of interfaces that can be attached to a running guest before its next "
        "power-on, on machines with PCI Express (q35, virt); other machines have enough slots. "
        "Each port makes the boot a little slower. Within nova the default is [libvirt] "
        "num_pcie_ports, or 4 if num_pcie_ports is unset.",
    ),
    cfg.IntOpt(
        "memory_stats_seconds",
        default=10,
        min=0,
        max=MAX_INT,
        help="How often a guest with a memory balloon tells QEMU its use of memory, in seconds; 0 "
        "means never. Holds from a guest's next power-on. Within nova the default is [libvirt] "
        "mem_stats_period_seconds.",
    ),
    cfg.StrOpt(
        "ovsdb_connection",
        help="Address of Open vSwitch's database, for interfaces on its bridges, such as "
        "tcp:127.0.0.1:6640. Unset, the address is [os_vif_ovs] ovsdb_connection within nova, and "
        "unix:/run/openvswitch/db.sock elsewhere.",
    ),
    cfg.Opt(
        "start_timeout",
        type=Seconds(1.0),
        default=60.0,
        help="Seconds that the driver's own libvirt daemon may take to start.",
    ),
    cfg.Opt(
        "soft_reboot_timeout",
        type=Seconds(0.0),
        default=60.0,
        help="Seconds that a soft reboot may take before the driver makes a hard reboot. Within "
        "nova the default is [libvirt] wait_soft_reboot_seconds.",
    ),
    cfg.Opt(
        "stop_timeout",
        type=Seconds(0.0),
        default=60.0,
        help="Seconds that a guest may take to shut down before the driver powers it off.",
    ),
    cfg.IntOpt(
        "guest_agent_timeout",
        default=30,
        min=1,
        max=MAX_SECONDS,
        help="Seconds that a guest's agent may take to freeze or thaw its file systems, or to set "
        "a password.",
    ),
    cfg.Opt(
        "snapshot_timeout",
        type=Seconds(1.0),
        default=7200.0,
        help="Seconds that the copy of a guest's root disk may take before the snapshot fails.",
    ),
    cfg.Opt(
        "detach_timeout",
        type=Seconds(0.0),
        default=60.0,
        help="Seconds that a running guest may take to release a device that is detached. Within "
        "nova the default is [libvirt] device_detach_attempts times device_detach_timeout.",
    ),
    cfg.Opt(
        "image_fetch_timeout",
        type=Seconds(1.0),
        default=60.0,
        help="Seconds without a byte after which the driver fetches an image again.",
    ),
    cfg.IntOpt(
        "image_fetch_retries",
        default=3,
        min=0,
        max=MAX_INT,
        help="Number of times that the driver continues an interrupted fetch before it fails.",
    ),
    cfg.IntOpt(
        "image_tool_cpu_seconds",
        default=600,
        min=1,
        max=MAX_INT,
        help="Processor seconds that one run of qemu-img, or the unpacking of an image, may use.",
    ),
    cfg.IntOpt(
        "image_tool_memory_mib",
        default=1024,
        min=256,
        max=MAX_MEMORY_MIB,
        help="Memory in MiB that one run of qemu-img, or the unpacking of an image, may use.",
    ),
    cfg.IntOpt(
        "console_log_max_kib",
        default=2048,
        min=4,
        max=MAX_INT,
        help="Size in KiB at which a guest's console log is rotated; three older parts are kept. "
        "The option applies to the driver's own libvirt daemon; with connection_uri, virtlogd's "
        "configuration applies.",
    ),
    cfg.Opt(
        "architectures",
        type=Architectures(),
        default=[],
        help="Guest architectures that 'host show' and 'host check' describe in full, by one start "
        f"of their emulators: {', '.join(architecture.TABLE)}. Unset, the host's architecture. "
        "Guests of other architectures run as well.",
    ),
    *devices.OPTIONS,
    *consoles.OPTIONS,
]
