# SPDX-License-Identifier: Apache-2.0
"""From the words of ``spawn``'s command line to a :class:`~compute_driver.guest.Guest`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    DiskFormat,
    Firmware,
    InputModel,
    InterfaceKind,
    NicModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.cmd import keys
from compute_driver.guest import (
    GIB,
    MAX_DISK_BYTES,
    MAX_USER_DATA_BYTES,
    MIB,
    ConfigDrive,
    DirectBoot,
    Disk,
    Guest,
    Image,
    Interface,
    Rescue,
    random_mac,
)
from compute_driver.hardware import architecture, properties
from compute_driver.hardware.properties import Hardware

#: Options that say the same as a property, and what reads them; they win.
_OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "arch": lambda option, name: architecture.get(name, option).name,
    "machine": lambda _option, name: name,
    "firmware": Firmware.parse,
    "disk_bus": DiskBus.parse,
    "video": VideoModel.parse,
    "input": InputModel.parse,
    "console": ConsoleModel.parse,
    "virtio": VirtioForm.parse,
    "cdrom_bus": DiskBus.parse,
    "scsi_model": ScsiModel.parse,
    "usb_model": UsbModel.parse,
    "sound": SoundModel.parse,
    "watchdog": WatchdogAction.parse,
    "os_type": OsType.parse,
}

_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def guest(words: argparse.Namespace) -> Guest:
    """Return the guest that the command line describes.

    :raises InvalidParameter: names the option, and what is accepted.
    """
    hardware = _hardware(words)
    disk_bus = hardware.disk_bus
    source = image(words)
    vcpus = _vcpus(words.vcpus, hardware)
    return Guest(
        uuid=str(uuid.uuid4()) if words.uuid is None else words.uuid.lower(),
        name=words.name,
        vcpus=vcpus,
        memory_mib=words.memory,
        architecture=hardware.architecture or architecture.of_host(),
        cpu=hardware.cpu(vcpus),
        image=source,
        root=_root(words.disk, source, disk_bus),
        ephemerals=tuple(
            Disk(size_bytes=gib("ephemeral", size), bus=disk_bus) for size in words.ephemeral
        ),
        swap=None if words.swap is None else Disk(size_bytes=words.swap * MIB, bus=disk_bus),
        boot=_boot(words, hardware.cmdline),
        config_drive=_config_drive(words),
        interfaces=_interfaces(words.nic, hardware),
        **hardware.devices(),
    )


def _hardware(words: argparse.Namespace) -> Hardware:
    """Return what the properties ask for, changed by the options."""
    said = properties.read(_pair("hw", pair) for pair in words.hw)
    changes = {
        "architecture" if option == "arch" else option: read(option.replace("_", "-"), word)
        for option, read in _OPTIONS.items()
        if (word := getattr(words, option)) is not None
    }
    for field in ("secure_boot", "rng", "balloon", "boot_menu", "serial_ports"):
        if getattr(words, field) is not None:
            changes[field] = getattr(words, field)
    if words.cpu is not None:
        changes["cpu_model"] = words.cpu
    given = {level: getattr(words, level) for level in ("sockets", "cores", "threads")}
    levels = {level: number for level, number in given.items() if number is not None}
    limits = {k: v for k, v in said.topology_limits.items() if k not in levels}
    return dataclasses.replace(
        said,
        **changes,
        cpu_enable=(*_without(said.cpu_enable, words.cpu_disable), *words.cpu_enable),
        cpu_disable=(*_without(said.cpu_disable, words.cpu_enable), *words.cpu_disable),
        topology={**said.topology, **levels},
        topology_limits=limits,
    )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _vcpus(given: int | None, hardware: Hardware) -> int:
    """Return the number of virtual processors: as given, or what the topology makes."""
    return math.prod(hardware.topology.values()) if given is None else given


def _pair(field: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise exceptions.InvalidParameter(field, text, "KEY=VALUE")
    return key, value


def rescue(words: argparse.Namespace) -> Rescue:
    """Return the rescue that the command line describes.

    :raises InvalidParameter: names the option, and what is accepted.
    """
    system = image(words)
    assert system is not None
    bus = words.disk_bus
    return Rescue(
        image=system,
        boot=_boot(words, None),
        last=words.last,
        bus=None if bus is None else DiskBus.parse("disk-bus", bus),
        cdrom=words.cdrom,
    )


def image(words: argparse.Namespace) -> Image | None:
    """Return the image that the command line names.

    :raises InvalidParameter: names the option, and what is accepted.
    """
    if words.image is None:
        for field in ("image_format", "checksum"):
            if getattr(words, field) is not None:
                option = field.replace("_", "-")
                raise exceptions.InvalidParameter(
                    option, getattr(words, field), "only with --image"
                )
        return None
    kind = words.image_format
    return Image(
        location=_location(words.image),
        checksum=words.checksum,
        format=None if kind is None else DiskFormat.parse("image-format", kind),
    )


def _location(text: str) -> str:
    """Return a source of bytes as it is meant from any working directory."""
    return text if "://" in text or not text else str(Path(text).absolute())


def _root(size_gib: float | None, image: Image | None, bus: DiskBus | None) -> Disk | None:
    if size_gib is None:
        return None if image is None else Disk(bus=bus)
    size = gib("disk", size_gib)
    if not size and image is None:
        raise exceptions.InvalidParameter(
            "disk", size_gib, "a size in GiB above 0, without an image"
        )
    return Disk(size_bytes=size, bus=bus)


def gib(field: str, size: float) -> int:
    """Return a size in bytes, in whole MiB, rounded up.

    :param field: the option, for the error.
    :raises InvalidParameter: if it is no size of a disk.
    """
    if not 0 <= size <= MAX_DISK_BYTES / GIB:  # also refuses nan
        raise exceptions.InvalidParameter(
            field, size, f"a number of GiB, 0 to {MAX_DISK_BYTES // GIB}"
        )
    return math.ceil(size * GIB / MIB) * MIB


def _boot(words: argparse.Namespace, cmdline: str | None) -> DirectBoot | None:
    if words.kernel is None:
        for field in ("ramdisk", "cmdline"):
            if getattr(words, field) is not None:
                raise exceptions.InvalidParameter(
                    field, getattr(words, field), "only with --kernel"
                )
        return None
    return DirectBoot(
        kernel=Image(location=_location(words.kernel)),
        ramdisk=None if words.ramdisk is None else Image(location=_location(words.ramdisk)),
        cmdline=words.cmdline or cmdline or "",
    )


def _interfaces(specs: Sequence[str], hardware: Hardware) -> tuple[Interface, ...]:
    if "none" in specs:
        if len(specs) > 1:
            raise exceptions.InvalidParameter("nic", "none", "none only by itself")
        return ()
    return tuple(interface(spec, hardware) for spec in specs or ("user",))


def interface(spec: str, hardware: Hardware) -> Interface:
    """Return the interface that option ``--nic`` describes.

    :param hardware: what is wanted of all interfaces.
    :raises InvalidParameter: names what is accepted.
    """
    first, *rest = spec.split(",")
    kind, _equals, source = first.partition("=")
    settings = dict(_pair("nic", part) for part in rest)
    accepted = {"model", "mac", "mtu", "queues"}
    if settings.keys() - accepted or kind not in list(InterfaceKind):
        raise exceptions.InvalidParameter(
            "nic",
            spec,
            "user, network=NAME, bridge=NAME or ovs=BRIDGE, then ,model=MODEL, ,mac=MAC, ,mtu=BYTES"
            " and ,queues=N",
        )
    limits = hardware.bandwidth()
    with properties.named({f"nic {way}": f"quota:vif_{way}_*" for way in limits}):
        return Interface(
            kind=InterfaceKind(kind),
            source=source or None,
            model=NicModel.parse("nic model", settings["model"])
            if "model" in settings
            else hardware.nic_model,
            mac=settings["mac"].lower() if "mac" in settings else random_mac(),
            mtu=_setting("mtu", settings),
            queues=_setting("queues", settings),
            inbound=limits.get("inbound"),
            outbound=limits.get("outbound"),
        )


def _setting(name: str, settings: Mapping[str, str]) -> int | None:
    if name not in settings:
        return None
    try:
        return int(settings[name])
    except ValueError:
        raise exceptions.InvalidParameter(f"nic {name}", settings[name], "a whole number") from None


def _config_drive(words: argparse.Namespace) -> ConfigDrive | None:
    told = [
        name
        for name in ("user_data", "key", "hostname", "meta")
        if getattr(words, name) not in (None, [])
    ]
    if words.config_drive is False and told:
        raise exceptions.InvalidParameter(
            "no-config-drive", True, f"a config drive, to carry {' and '.join(told)}"
        )
    if not told and not words.config_drive:
        return None
    return ConfigDrive(
        hostname=_hostname(words),
        user_data=None
        if words.user_data is None
        else keys.read("user-data", words.user_data, MAX_USER_DATA_BYTES),
        public_keys=keys.public_keys(words.key),
        meta=dict(_pair("meta", pair) for pair in words.meta),
    )


def _hostname(words: argparse.Namespace) -> str:
    if words.hostname is None:
        return re.sub("[^a-z0-9]+", "-", words.name.lower())[:63].strip("-") or "guest"
    if len(words.hostname) > 253 or not _HOSTNAME.fullmatch(words.hostname):
        raise exceptions.InvalidParameter(
            "hostname", words.hostname, "letters, digits and hyphens, in parts of 63 parted by dots"
        )
    return str(words.hostname)
