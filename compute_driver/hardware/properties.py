# SPDX-License-Identifier: Apache-2.0
"""OpenStack's properties of images and extra specs of flavors that describe hardware.

Sources: Glance, "Useful image properties"; Nova, "Extra Specs".  OpenStack has no names for CPU
models and CPU features; this project's names are ``hw_cpu_model`` and ``hw_cpu_features`` for
images, ``driver:cpu_model`` and ``driver:cpu_features`` for flavors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oslo_utils import strutils

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.guest import MAX_SERIAL_PORTS, MAX_VCPUS, MAX_VIDEO_MIB, Cpu, Guest, RngRate
from compute_driver.hardware import architecture, joined, topology
from compute_driver.limits import Bandwidth, CpuLimits, DiskLimits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wishes:
    """The user's wishes for a guest's hardware; None for no wish.

    The fields are those of :class:`~compute_driver.guest.Guest` and its parts.  OpenStack has no
    property for ``console``, ``virtio`` and ``balloon``.

    :param topology: numbers of ``sockets``, ``cores`` and ``threads``.
    :param topology_limits: the highest numbers of ``sockets``, ``cores`` and ``threads``.
    :param video_ram_limit_mib: the highest size of a display adapter's memory, in MiB.
    :param rng_limits: ``size_bytes`` and ``period_ms`` of a :class:`~compute_driver.guest.RngRate`.
    :param disk_quota: the fields of :class:`~compute_driver.limits.DiskLimits`.
    :param cpu_quota: the fields of :class:`~compute_driver.limits.CpuLimits`.
    :param inbound: the fields of a :class:`~compute_driver.limits.Bandwidth`.
    :param outbound: the fields of a :class:`~compute_driver.limits.Bandwidth`.
    """

    architecture: str | None = None
    machine: str | None = None
    firmware: Firmware | None = None
    secure_boot: bool | None = None
    cpu_model: str | None = None
    cpu_enable: tuple[str, ...] = ()
    cpu_disable: tuple[str, ...] = ()
    topology: Mapping[str, int] = dataclasses.field(default_factory=dict)
    topology_limits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cmdline: str | None = None
    disk_bus: DiskBus | None = None
    nic_model: NicModel | None = None
    video: VideoModel | None = None
    input: InputModel | None = None
    console: ConsoleModel | None = None
    virtio: VirtioForm | None = None
    rng: bool | None = None
    balloon: bool | None = None
    guest_agent: bool | None = None
    os_type: OsType | None = None
    boot_menu: bool | None = None
    hide_hypervisor: bool | None = None
    pmu: bool | None = None
    hpet: bool | None = None
    cdrom_bus: DiskBus | None = None
    scsi_model: ScsiModel | None = None
    usb_model: UsbModel | None = None
    sound: SoundModel | None = None
    watchdog: WatchdogAction | None = None
    serial_ports: int | None = None
    video_ram_mib: int | None = None
    video_ram_limit_mib: int | None = None
    rng_limits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    packed_ring: bool | None = None
    disk_quota: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cpu_quota: Mapping[str, int] = dataclasses.field(default_factory=dict)
    inbound: Mapping[str, int] = dataclasses.field(default_factory=dict)
    outbound: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def devices(self) -> dict[str, Any]:
        """Return the wishes for fields of a guest; the guest's other fields keep their defaults.

        :raises InvalidParameter: if a quota is out of its bounds; names the property.
        """
        wishes = {name: getattr(self, name) for name in _SHARED}
        rate = {name: number for name, number in self.rng_limits.items() if number}
        if "size_bytes" in rate and self.rng is not False:
            wishes["rng_rate"] = RngRate(**rate)
        with named({"disk ": "quota:disk_", "cpu ": "quota:cpu_"}):
            if any(self.disk_quota.values()):
                wishes["disk_limits"] = DiskLimits(**self.disk_quota)
            if any(self.cpu_quota.values()):
                wishes["cpu_limits"] = CpuLimits(**self.cpu_quota)
        return {name: value for name, value in wishes.items() if value is not None}

    def bandwidth(self) -> dict[str, Bandwidth]:
        """Return the limits of every interface, by the fields of the interface.

        :raises InvalidParameter: if a limit has no average or is out of its bounds; names the
            property.
        """
        limits = {}
        for name, wishes in {"inbound": self.inbound, "outbound": self.outbound}.items():
            with named({"nic bandwidth ": f"quota:vif_{name}_"}):
                if any(wishes.values()):
                    limits[name] = Bandwidth(**wishes)
        return limits

    def cpu(self, vcpus: int) -> Cpu:
        """Return the processor of a guest with *vcpus* virtual processors.

        :raises InvalidParameter: if the topology makes another number of processors.
        """
        return Cpu(
            model=self.cpu_model,
            enable=self.cpu_enable,
            disable=self.cpu_disable,
            topology=topology.fit(vcpus, self.topology, self.topology_limits),
        )


@contextlib.contextmanager
def named(names: Mapping[str, str]) -> Iterator[None]:
    """Make refusals name the user's property in place of the field that the property sets.

    :param names: beginnings of names of properties, by beginnings of names of fields.
    """
    try:
        yield
    except exceptions.InvalidParameter as error:
        for field, name in names.items():
            if error.field.startswith(field):
                rest = error.field.removeprefix(field)
                raise type(error)(f"{name}{rest}", error.value, error.accepted) from error
        raise


_SHARED = {field.name for field in dataclasses.fields(Wishes)} & {
    field.name for field in dataclasses.fields(Guest)
} - {"architecture"}


@dataclasses.dataclass(frozen=True)
class Property:
    """The meaning of one property.

    :param about: the part of the guest that the property describes, in a few words.
    :param read: returns the fields of :class:`Wishes` for the property's name and text.
    """

    about: str
    read: Callable[[str, str], Mapping[str, Any]]


def read_wishes(pairs: Iterable[tuple[str, str]]) -> Wishes:
    """Return the meaning of all properties together, in any order.

    The most specific name of the architecture wins: ``architecture`` is the image's architecture,
    ``hw_architecture`` the architecture that the image needs, ``hw_emulation_architecture`` the
    architecture to emulate.  The lowest of several limits holds, and CPU features add up.  Where
    the image wins in nova, the image wins here; every other contradiction is refused, also one of
    flavor and image.

    :param pairs: names and values.
    :raises InvalidParameter: if a name is unknown, a value is not accepted, or two values
        contradict each other.
    """
    settings = []
    for name, text in pairs:
        if name not in PROPERTIES:
            close = difflib.get_close_matches(name.lower(), PROPERTIES, n=3, cutoff=0.5)
            accepted = f"properties such as {', '.join(close or ['hw_disk_bus'])}; all are in"
            accepted += " the documentation, 'Acceleration', 'Properties'"
            raise exceptions.InvalidParameter("property", name, accepted)
        settings.append((name, text, PROPERTIES[name].read(name, text)))
    return Wishes(**joined.join(settings))


def truth(name: str, text: str) -> bool:
    """Return the meaning of a word for yes or no.

    :raises InvalidParameter: names the words.
    """
    try:
        return strutils.bool_from_string(text, strict=True)
    except ValueError:
        words = (*strutils.TRUE_STRINGS, *strutils.FALSE_STRINGS)
        raise exceptions.InvalidParameter(name, text, words) from None


def _word(name: str, text: str, words: Mapping[str, Any]) -> Any:
    try:
        return words[text.lower()]
    except KeyError:
        raise exceptions.InvalidParameter(name, text, words) from None


def number(name: str, text: str, low: int, high: int) -> int:
    """Return the whole number that a text describes.

    :param low: the smallest accepted number.
    :param high: the largest accepted number.
    :raises InvalidParameter: if the text is no whole number, or the number is not accepted.
    """
    short = len(text) <= len(str(high))
    if not (short and text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise exceptions.InvalidParameter(name, text, f"a whole number, {low} to {high}")
    return int(text)


def _features(name: str, text: str) -> Mapping[str, Any]:
    """Read ``+avx2,-svm``; a name without a sign is enabled."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    enable = tuple(word.lstrip("+") for word in words if not word.startswith("-"))
    disable = tuple(word[1:] for word in words if word.startswith("-"))
    with named({"cpu feature": name}):
        Cpu(enable=enable, disable=disable)
    return {"cpu_enable": enable, "cpu_disable": disable}


def _cpu_model(name: str, text: str) -> str:
    with named({"cpu": name}):
        Cpu(model=text)
    return text


def _sets(field: str, convert: Callable[[str, str], Any]) -> Callable[[str, str], dict[str, Any]]:
    return lambda name, text: {field: convert(name, text)}


def _level(
    field: str, level: str, low: int = 1, high: int = MAX_VCPUS
) -> Callable[[str, str], dict[str, Any]]:
    return lambda name, text: {field: {level: number(name, text, low, high)}}


def _no_limit_or_number(name: str, text: str) -> int:
    """Read a number; some users write -1 for no limit."""
    return 0 if text == "-1" else number(name, text, 0, _MAX_LONG)


def _up_to(high: int) -> Callable[[str, str], int]:
    return lambda name, text: number(name, text, 0, high)


def _serial_ports(name: str, text: str) -> Mapping[str, Any]:
    """Read the number of serial ports; 0 means 1: every guest has a console."""
    return {"serial_ports": number(name, text, 0, MAX_SERIAL_PORTS) or 1}


def _watchdog(name: str, text: str) -> WatchdogAction | None:
    actions: Mapping[str, WatchdogAction | None]
    actions = {"disabled": None, **{str(action): action for action in WatchdogAction}}
    return _word(name, text, actions)  # type: ignore[no-any-return]


def _text(_name: str, text: str) -> str:
    return text


def _one_of(words: Mapping[str, Any]) -> Callable[[str, str], Any]:
    return lambda name, text: _word(name, text, words)


def _architecture(name: str, text: str) -> str:
    return architecture.get(text, name).name


_MAX_NUMBER = 2**31 - 1
_MAX_LONG = 2**63 - 1

#: "optional" is no wish: such a guest gets the simpler firmware.
_SECURE_BOOT_WORDS: Mapping[str, Mapping[str, bool]] = {
    "required": {"secure_boot": True},
    "optional": {},
    "disabled": {"secure_boot": False},
}

_ARCHITECTURE = Property("architecture", _sets("architecture", _architecture))
_CPU_MODEL = Property("CPU model", _sets("cpu_model", _cpu_model))
_CPU_FEATURES = Property("CPU features, such as +aes,-svm", _features)
_SECURE_BOOT = Property(
    "secure boot: required, optional or disabled",
    lambda name, text: _word(name, text, _SECURE_BOOT_WORDS),
)

#: All properties that the driver understands, by OpenStack's names.
PROPERTIES: Mapping[str, Property] = {
    **dict.fromkeys(joined.ARCHITECTURES, _ARCHITECTURE),
    "hw_machine_type": Property("machine type", _sets("machine", _text)),
    "hw_firmware_type": Property("firmware", _sets("firmware", Firmware.parse)),
    **dict.fromkeys(("os_secure_boot", "os:secure_boot"), _SECURE_BOOT),
    **dict.fromkeys(("hw_cpu_model", "driver:cpu_model"), _CPU_MODEL),
    **dict.fromkeys(("hw_cpu_features", "driver:cpu_features"), _CPU_FEATURES),
    **{
        f"hw{mark}cpu_{prefix}{level}": Property(f"{words} of CPU {level}", _level(field, level))
        for mark in "_:"
        for prefix, field, words in (
            ("", "topology", "number"),
            ("max_", "topology_limits", "highest number"),
        )
        for level in ("sockets", "cores", "threads")
    },
    "os_command_line": Property("the kernel's command line", _sets("cmdline", _text)),
    "hw_disk_bus": Property("bus of all disks", _sets("disk_bus", DiskBus.parse)),
    "hw_cdrom_bus": Property("bus of CD-ROM drives", _sets("cdrom_bus", DiskBus.parse)),
    "hw_scsi_model": Property("SCSI controller", _sets("scsi_model", ScsiModel.parse)),
    "hw_vif_model": Property("network card", _sets("nic_model", NicModel.parse)),
    "hw_video_model": Property("display adapter", _sets("video", VideoModel.parse)),
    "hw_input_bus": Property("bus of keyboard and pointer", _sets("input", InputModel.parse)),
    "hw_pointer_model": Property(
        "pointer: usbtablet", _sets("input", _one_of({"usbtablet": InputModel.USB}))
    ),
    "hw_video_ram": Property(
        "memory of the display adapter in MiB", _sets("video_ram_mib", _up_to(MAX_VIDEO_MIB))
    ),
    "hw_video:ram_max_mb": Property(
        "highest memory of the display adapter in MiB",
        _sets("video_ram_limit_mib", _up_to(_MAX_NUMBER)),
    ),
    "hw_rng_model": Property("random numbers", _sets("rng", _one_of({"virtio": True}))),
    "hw_rng:allowed": Property("whether the guest has random numbers", _sets("rng", truth)),
    "hw_rng:rate_bytes": Property(
        "number of random bytes in each period",
        _level("rng_limits", "size_bytes", 0, _MAX_NUMBER),
    ),
    "hw_rng:rate_period": Property(
        "period of random bytes in milliseconds", _level("rng_limits", "period_ms", 0, _MAX_NUMBER)
    ),
    "hw_qemu_guest_agent": Property("the guest agent's channel", _sets("guest_agent", truth)),
    **{
        f"hw{mark}{name}": meaning
        for mark in "_:"
        for name, meaning in {
            "sound_model": Property("sound card", _sets("sound", SoundModel.parse)),
            "usb_model": Property("USB controller", _sets("usb_model", UsbModel.parse)),
            "watchdog_action": Property(
                "action of the watchdog, or disabled", _sets("watchdog", _watchdog)
            ),
            "boot_menu": Property("the firmware's boot menu", _sets("boot_menu", truth)),
            "pmu": Property("performance monitoring unit", _sets("pmu", truth)),
            "serial_port_count": Property("number of serial ports", _serial_ports),
            "virtio_packed_ring": Property("packed virtio queues", _sets("packed_ring", truth)),
        }.items()
    },
    **dict.fromkeys(
        ("img_hide_hypervisor_id", "hw:hide_hypervisor_id", "hide_hypervisor_id"),
        Property("whether the processor hides its hypervisor", _sets("hide_hypervisor", truth)),
    ),
    **{
        f"quota:disk_{way}_{unit}_sec": Property(
            f"{unit} that each disk may {verb} in a second",
            _level("disk_quota", f"{way}_{unit}_sec", 0, _MAX_LONG),
        )
        for way, verb in (("read", "read"), ("write", "write"), ("total", "read and write"))
        for unit in ("bytes", "iops")
    },
    **{
        f"quota:vif_{way}bound_{limit}": Property(
            f"{limit} of the data that each interface may {verb}, in KiB{per}",
            _level(f"{way}bound", limit, 0, _MAX_NUMBER),
        )
        for way, verb in (("in", "get"), ("out", "send"))
        for limit, per in (("average", " a second"), ("peak", " a second"), ("burst", ""))
    },
    "quota:cpu_shares": Property(
        "weight of the guest's processors", _level("cpu_quota", "shares", 0, _MAX_NUMBER)
    ),
    "quota:cpu_period": Property(
        "period of the processors' quota in microseconds",
        _level("cpu_quota", "period_us", 0, _MAX_NUMBER),
    ),
    "quota:cpu_quota": Property(
        "microseconds that each processor may run in a period",
        lambda name, text: {"cpu_quota": {"quota_us": _no_limit_or_number(name, text)}},
    ),
    "os_type": Property("kind of system", _sets("os_type", OsType.parse)),
    "hw_time_hpet": Property("high precision event timer", _sets("hpet", truth)),
    "hw_vm_mode": Property("mode: hvm", lambda name, text: _word(name, text, {"hvm": {}})),
}
