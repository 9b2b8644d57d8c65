# SPDX-License-Identifier: Apache-2.0
"""Options of group ``[hypervisor]``."""

from __future__ import annotations

import os
from pathlib import Path

from oslo_config import cfg, types

from compute_driver import exceptions
from compute_driver.conf import consoles
from compute_driver.guest import Cpu
from compute_driver.hardware import architecture

GROUP = cfg.OptGroup(
    "hypervisor",
    title="Hypervisor",
    help="How guests are run on this host, and where what they own is kept.",
)

#: How many ports of PCI Express a guest can have to spare.
MAX_HOTPLUG_PORTS = 16


def _default_state_path() -> str:
    if os.geteuid() == 0:
        return "/var/lib/compute-driver"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return str(Path(data) / "compute-driver")


class AbsolutePath(types.ConfigType):
    """A path from the root, so that it means the same from every working directory."""

    accepted = "an absolute path"

    def __init__(self) -> None:
        super().__init__(type_name="absolute path")

    def __call__(self, value: object) -> str:
        """Return *value* if it is an absolute path without control characters."""
        text = str(value)
        if not text.startswith("/") or not text.isprintable():
            raise ValueError(f"{text!r} is not an absolute path such as /var/lib/compute-driver")
        return os.path.normpath(text)

    def __repr__(self) -> str:
        return "AbsolutePath"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def _formatter(self, value: str) -> str:
        return value


class Architectures(types.List):
    """Guest architectures, each in any spelling."""

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
        """Return the models by canonical names of architectures."""
        models: dict[str, str] = {}
        for name, model in super().__call__(value).items():
            if models.setdefault(_canonical(name), _model(model)) != model:
                raise ValueError(f"two models for {_canonical(name)}")
        return models


def _canonical(name: str) -> str:
    try:
        return architecture.get(name).name
    except exceptions.InvalidParameter as error:
        raise ValueError(str(error)) from error


def _model(name: str) -> str:
    try:
        Cpu(model=name)
    except exceptions.InvalidParameter as error:
        raise ValueError(str(error)) from error
    return name


OPTIONS = [
    cfg.StrOpt(
        "driver",
        default="libvirt",
        help="Which driver runs the guests: the name of an entry point in namespace "
        "compute_driver.drivers. 'fake' keeps guests in memory only, for trying things out.",
    ),
    cfg.StrOpt(
        "virt_type",
        default="kvm",
        choices=[
            ("kvm", "hardware acceleration (Intel VT, AMD-V, ...) where the host has it"),
            ("qemu", "emulation by QEMU's TCG, on any host and for any guest architecture"),
        ],
        help="Whether guests are accelerated by the hardware or emulated. A guest of an "
        "architecture that is not the host's is always emulated.",
    ),
    cfg.BoolOpt(
        "emulation_fallback",
        default=True,
        help="What happens when virt_type is kvm and this host has no usable KVM: true emulates "
        "the guest and says why in the log and in 'show'; false refuses it before anything is "
        "made.",
    ),
    cfg.StrOpt(
        "connection_uri",
        help="URI of the libvirt daemon that runs the guests; qemu:///system is the production "
        "setting. Unset, the driver starts a libvirt daemon of its own, private to state_path, "
        "on demand.",
    ),
    cfg.Opt(
        "state_path",
        type=AbsolutePath(),
        default=_default_state_path(),
        sample_default="/var/lib/compute-driver",
        help="Directory of all that the driver keeps. Ordinary users get a directory of their "
        "own below $XDG_DATA_HOME by default. Its path must be short enough for UNIX sockets.",
    ),
    cfg.Opt(
        "instances_path",
        type=AbsolutePath(),
        default="$state_path/instances",
        help="Directory with one directory for each guest: disks, config drive, console log, "
        "firmware variables.",
    ),
    cfg.Opt(
        "image_cache_path",
        type=AbsolutePath(),
        default="$state_path/images",
        help="Directory of fetched images, the backing files of guests' disks.",
    ),
    cfg.IntOpt(
        "image_unused_seconds",
        default=86400,
        min=0,
        help="Seconds after which an image that no guest needs any more may be removed, by 'image "
        "prune' or, within nova, now and then; nova's [image_cache] "
        "remove_unused_original_minimum_age_seconds there unless it is set.",
    ),
    cfg.StrOpt(
        "disk_format",
        default="qcow2",
        choices=[
            ("qcow2", "an overlay that keeps only what differs from the cached image"),
            ("raw", "a full copy: more space and a slower spawn, no dependence on the cache"),
        ],
        help="Format of the guests' disks.",
    ),
    cfg.StrOpt(
        "kvm_cpu_mode",
        default="host-model",
        choices=[
            (
                "host-model",
                "the model nearest to the host's, so that guests can move between like hosts",
            ),
            (
                "host-passthrough",
                "the host's own processor with all its features, for guests that stay",
            ),
        ],
        help="What processor a guest with KVM sees if it does not name one. Architectures for "
        "which libvirt knows no models (ARM, RISC-V) always get host-passthrough.",
    ),
    cfg.Opt(
        "tcg_cpu_models",
        type=CpuModels(),
        default={},
        help="What processor an emulated guest sees if it does not name one: CPU models by guest "
        "architecture, such as x86_64:Haswell-noTSX,aarch64:cortex-a72, or 'maximum' for all that "
        "can be emulated. Architectures that are not named get models that every common "
        "distribution runs on and that cost little to emulate.",
    ),
    cfg.IntOpt(
        "tcg_translation_buffer_mib",
        min=0,
        help="Memory in MiB in which QEMU keeps the translated code of an emulated guest. Larger "
        "ones make rebooting slow, since stale code is not dropped before the buffer is full; "
        "smaller ones make large programs be translated again and again. Unset, it is an "
        "eighth of the guest's memory, but 64 to 256, and no more than a 32nd of the host's. "
        "0 leaves it to QEMU (up to 1024).",
    ),
    cfg.IntOpt(
        "hotplug_ports",
        default=1,
        min=0,
        max=MAX_HOTPLUG_PORTS,
        help="How many interfaces a running guest can be given before its next power-on, on "
        "machines with PCI Express (q35, virt); others have slots enough. Each takes a port, and "
        "every boot a little longer for it. Within nova the default is what [libvirt] "
        "num_pcie_ports says, or 4 if that is not set.",
    ),
    cfg.StrOpt(
        "ovsdb_connection",
        help="Where Open vSwitch's database listens, for interfaces that are plugged into its "
        "bridges; such as tcp:127.0.0.1:6640. Unset, it is what [os_vif_ovs] ovsdb_connection says "
        "within nova, and unix:/run/openvswitch/db.sock elsewhere.",
    ),
    cfg.FloatOpt(
        "start_timeout",
        default=60.0,
        min=1.0,
        help="Seconds to wait for the driver's own libvirt daemon to come up.",
    ),
    cfg.FloatOpt(
        "soft_reboot_timeout",
        default=60.0,
        min=0.0,
        help="Seconds that a guest may take to answer a soft reboot before it is made hard.",
    ),
    cfg.FloatOpt(
        "stop_timeout",
        default=60.0,
        min=0.0,
        help="Seconds that a guest may take to shut down before it is powered off.",
    ),
    cfg.IntOpt(
        "guest_agent_timeout",
        default=30,
        min=1,
        help="Seconds that a guest's agent may take to freeze or thaw its file systems, or to set "
        "a password.",
    ),
    cfg.FloatOpt(
        "snapshot_timeout",
        default=7200.0,
        min=1.0,
        help="Seconds that the copy of a guest's root disk may take before it is given up.",
    ),
    cfg.FloatOpt(
        "detach_timeout",
        default=60.0,
        min=0.0,
        help="Seconds that a running guest may take to let go of a device that is detached.",
    ),
    cfg.FloatOpt(
        "image_fetch_timeout",
        default=60.0,
        min=1.0,
        help="Seconds without a byte after which fetching an image is tried again.",
    ),
    cfg.IntOpt(
        "image_fetch_retries",
        default=3,
        min=0,
        help="How often an interrupted fetch is continued before it fails.",
    ),
    cfg.IntOpt(
        "image_tool_cpu_seconds",
        default=600,
        min=1,
        help="Processor seconds that one run of qemu-img may use.",
    ),
    cfg.IntOpt(
        "image_tool_memory_mib",
        default=1024,
        min=256,
        help="Address space in MiB that one run of qemu-img may use.",
    ),
    cfg.IntOpt(
        "console_log_max_kib",
        default=2048,
        min=4,
        help="Size in KiB at which a guest's console log is rotated (three older parts are "
        "kept). It holds for the driver's own libvirt daemon; with connection_uri, virtlogd's "
        "own configuration decides.",
    ),
    cfg.Opt(
        "architectures",
        type=Architectures(),
        default=[],
        help="Guest architectures that 'host show' and 'host check' look at in full, which starts "
        f"their emulators once: {', '.join(architecture.TABLE)}. Unset: the host's own. Guests of "
        "others run as well.",
    ),
    *consoles.OPTIONS,
]
