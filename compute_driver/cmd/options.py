# SPDX-License-Identifier: Apache-2.0
"""From the words of ``spawn``'s command line to a :class:`~compute_driver.guest.Guest`."""

from __future__ import annotations

import argparse
import math
import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from compute_driver import architecture, exceptions
from compute_driver.cmd import keys
from compute_driver.guest import (
    GIB,
    MAX_DISK_BYTES,
    MAX_USER_DATA_BYTES,
    MIB,
    ConfigDrive,
    Cpu,
    DirectBoot,
    Disk,
    DiskBus,
    DiskFormat,
    Firmware,
    Guest,
    Image,
    Interface,
    InterfaceKind,
    NicModel,
    VideoModel,
    random_mac,
)

#: OpenStack's image properties, and the options that they are defaults of.
PROPERTIES = {
    "hw_architecture": "arch",
    "hw_disk_bus": "disk_bus",
    "hw_firmware_type": "firmware",
    "hw_machine_type": "machine",
    "hw_qemu_guest_agent": "guest_agent",
    "hw_video_model": "video",
    "hw_vif_model": "nic_model",
}

_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}


def guest(words: argparse.Namespace) -> Guest:
    """Return the guest that the command line describes.

    :raises InvalidParameter: names the option, and what is accepted.
    """
    given = {**_properties(words.hw), **{k: v for k, v in vars(words).items() if v is not None}}
    bus, video, firmware = given.get("disk_bus"), given.get("video"), given.get("firmware")
    disk_bus = DiskBus.parse("disk-bus", bus) if bus else None
    image = _image(words)
    return Guest(
        uuid=str(uuid.uuid4()) if words.uuid is None else words.uuid.lower(),
        name=words.name,
        vcpus=words.vcpus,
        memory_mib=words.memory,
        architecture=_architecture(given.get("arch")),
        machine=given.get("machine"),
        cpu=Cpu(model=words.cpu),
        firmware=Firmware.parse("firmware", firmware) if firmware else None,
        image=image,
        root=_root(words.disk, image, disk_bus),
        ephemerals=tuple(
            Disk(size_bytes=_gib("ephemeral", size), bus=disk_bus) for size in words.ephemeral
        ),
        swap=None if words.swap is None else Disk(size_bytes=words.swap * MIB, bus=disk_bus),
        boot=_boot(words),
        config_drive=_config_drive(words),
        interfaces=_interfaces(words.nic, given.get("nic_model")),
        video=VideoModel.parse("video", video) if video else None,
        guest_agent=_truth("hw_qemu_guest_agent", given.get("guest_agent", "yes")),
    )


def _properties(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, value = _pair("hw", pair)
        if name not in PROPERTIES:
            raise exceptions.InvalidParameter("hw", name, PROPERTIES)
        found[PROPERTIES[name]] = value
    return found


def _pair(field: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise exceptions.InvalidParameter(field, text, "KEY=VALUE")
    return key, value


def _truth(field: str, word: str) -> bool:
    try:
        return _TRUTH[word.lower()]
    except KeyError:
        raise exceptions.InvalidParameter(field, word, _TRUTH) from None


def _architecture(name: str | None) -> str:
    return architecture.of_host() if name is None else architecture.get(name).name


def _image(words: argparse.Namespace) -> Image | None:
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


def _root(gib: float | None, image: Image | None, bus: DiskBus | None) -> Disk | None:
    if gib is None:
        return None if image is None else Disk(bus=bus)
    size = _gib("disk", gib)
    if not size and image is None:
        raise exceptions.InvalidParameter("disk", gib, "a size in GiB above 0, without an image")
    return Disk(size_bytes=size, bus=bus)


def _gib(field: str, size: float) -> int:
    """Return a size in bytes, in whole MiB, rounded up."""
    if not 0 <= size <= MAX_DISK_BYTES / GIB:  # also refuses nan
        raise exceptions.InvalidParameter(
            field, size, f"a number of GiB, 0 to {MAX_DISK_BYTES // GIB}"
        )
    return math.ceil(size * GIB / MIB) * MIB


def _boot(words: argparse.Namespace) -> DirectBoot | None:
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
        cmdline=words.cmdline or "",
    )


def _interfaces(specs: Sequence[str], default_model: str | None) -> tuple[Interface, ...]:
    if "none" in specs:
        if len(specs) > 1:
            raise exceptions.InvalidParameter("nic", "none", "none only by itself")
        return ()
    return tuple(_interface(spec, default_model) for spec in specs or ("user",))


def _interface(spec: str, default_model: str | None) -> Interface:
    first, *rest = spec.split(",")
    kind, _equals, source = first.partition("=")
    settings = dict(_pair("nic", part) for part in rest)
    if settings.keys() - {"model", "mac"} or kind not in list(InterfaceKind):
        raise exceptions.InvalidParameter(
            "nic", spec, "user, network=NAME, bridge=NAME or none, then ,model=MODEL and ,mac=MAC"
        )
    model = settings.get("model", default_model)
    return Interface(
        kind=InterfaceKind(kind),
        source=source or None,
        model=NicModel.parse("nic model", model) if model else None,
        mac=settings["mac"].lower() if "mac" in settings else random_mac(),
    )


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
