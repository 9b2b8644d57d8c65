# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, and the parts of a guest that they describe."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import Choice, DiskFormat, InterfaceKind, NicModel, Protocol
from compute_driver.cmd import verb
from compute_driver.guest import (
    GIB,
    MAX_DISK_BYTES,
    MIB,
    DirectBoot,
    Image,
    Interface,
    PublishedPort,
    StaticAddress,
    random_mac,
)
from compute_driver.hardware import properties
from compute_driver.hardware.properties import Wishes


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of the command line.

    :param flag: such as ``--disk-bus``.
    :param help: one line for the user.
    :param metavar: placeholder of the value in the help.
    :param type: makes the value from the word, or raises ArgumentTypeError.
    :param settings: other settings of argparse.
    :param field: the field of :class:`~compute_driver.hardware.properties.Wishes` that the option
        sets, if it sets one.
    :param read: makes the value of the field from the flag and the option's value, or raises
        InvalidParameter.
    """

    flag: str
    help: str
    metavar: str | None = None
    type: Callable[[str], Any] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    field: str | None = None
    read: Callable[[str, Any], Any] = lambda _flag, value: value

    @property
    def name(self) -> str:
        """Name of the attribute that argparse makes of the option."""
        return self.flag.removeprefix("--").replace("-", "_")


def repeated(flag: str, metavar: str, text: str, **more: Any) -> Option:
    """Return an option that can be given several times; its value is a list."""
    settings = {"action": "append", "default": []}
    return Option(flag, f"{text}; can be repeated", metavar, settings=settings, **more)


def switch(flag: str, text: str, field: str | None = None) -> Option:
    """Return an option that is given as ``--NAME`` or ``--no-NAME``."""
    return Option(flag, text, settings={"action": argparse.BooleanOptionalAction}, field=field)


def choice(flag: str, text: str, metavar: str, kind: type[Choice]) -> Option:
    """Return an option that sets the field of the hardware with its name to a choice.

    :param text: the help, with ``{words}`` in the place of the words of the choice.
    """
    name = flag.removeprefix("--").replace("-", "_")
    return Option(flag, text.format(words=listed(kind)), metavar, field=name, read=kind.parse)


def listed(kind: type[Choice]) -> str:
    """Return the words of a choice, for a help text."""
    *most, last = kind.words()
    return f"{', '.join(most)} or {last}"


#: Options of an image; see :func:`image`.
IMAGE = (
    Option("--image-format", f"format that the image must have: {listed(DiskFormat)}", "F"),
    Option("--checksum", "checksum that the image must have", "ALG:HEX"),
)

#: A kernel that is booted without a boot loader; see :func:`direct_boot`.
KERNEL = (
    Option("--kernel", "path or URL of a kernel to boot directly", "SRC"),
    Option("--ramdisk", "path or URL of the kernel's initial ramdisk", "SRC"),
    Option("--cmdline", "command line of the kernel", "TEXT"),
)

STOP_TIMEOUT = Option(
    "--timeout",
    "seconds that the guest may take to shut down (default: option stop_timeout)",
    "SECONDS",
    verb.seconds,
)


def add(parser: argparse._ActionsContainer, options: Iterable[Option]) -> None:
    """Add options to a parser or to a group of a parser."""
    for option in options:
        settings = {"help": option.help, **option.settings}
        if option.metavar is not None:
            settings["metavar"] = option.metavar
        if option.type is not None:
            settings["type"] = option.type
        parser.add_argument(option.flag, **settings)


#: Options by the names that :class:`~compute_driver.guest.Guest` gives to their values; a longer
#: name stands before its beginning.
_FLAGS = {
    "cpu feature": "--cpu-enable and --cpu-disable",
    "cpu topology": "--vcpus with --sockets, --cores and --threads",
    # Only properties set these.
    **{name: name for name in ("video_ram", "rng rate", "rng period", "cpu limits", "cpu shares")},
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            "vcpus",
            "memory",
            "disk_bus",
            "disk",
            "ephemeral",
            "swap",
            "nic",
            "machine",
            "cpu",
            "uuid",
            "sockets",
            "cores",
            "threads",
            "image",
            "checksum",
            "cmdline",
            "kernel",
            "ramdisk",
            "publish",
            "serial_ports",
            "user_data",
            "hostname",
            "firmware",
            "secure_boot",
            "boot_menu",
            "os_type",
            "cdrom_bus",
            "scsi_model",
            "usb_model",
            "sound",
            "watchdog",
            "video",
            "input",
            "console",
            "rng",
            "balloon",
            "virtio",
        )
    },
    "root": "--disk",
    "architecture": "--arch",
    "name server": "--dns",
}


def named() -> contextlib.AbstractContextManager[None]:
    """Let the refusals of values name the options of the command line."""
    return properties.named(_FLAGS)


def pair(flag: str, text: str) -> tuple[str, str]:
    """Part a word ``KEY=VALUE``.

    :raises InvalidParameter: if the word has no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise exceptions.InvalidParameter(flag, text, "KEY=VALUE")
    return key, value


def pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """Part several words ``KEY=VALUE``.

    :raises InvalidParameter: see :func:`pair`; also if two words have the same key.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, value = pair(flag, text)
        if key in found:
            raise exceptions.InvalidParameter(flag, text, f"{key} once")
        found[key] = value
    return found


def image(words: argparse.Namespace) -> Image | None:
    """Return the image that ``image`` and the options of :data:`IMAGE` describe.

    :raises InvalidParameter: names the option, and the accepted values.
    """
    if words.image is None:
        _refuse_without("--image", words, IMAGE)
        return None
    kind = words.image_format
    return Image(
        location=_location("--image", words.image),
        checksum=words.checksum,
        format=None if kind is None else DiskFormat.parse("--image-format", kind),
    )


def direct_boot(words: argparse.Namespace, cmdline: str = "") -> DirectBoot | None:
    """Return the kernel that the options of :data:`KERNEL` describe.

    :param cmdline: the kernel's command line if there is no option ``--cmdline``.
    :raises InvalidParameter: names the option, and the accepted values.
    """
    kernel, *others = KERNEL
    if words.kernel is None:
        _refuse_without(kernel.flag, words, others)
        return None
    return DirectBoot(
        kernel=Image(location=_location(kernel.flag, words.kernel)),
        ramdisk=None
        if words.ramdisk is None
        else Image(location=_location("--ramdisk", words.ramdisk)),
        cmdline=words.cmdline or cmdline,
    )


def _refuse_without(needed: str, words: argparse.Namespace, options: Iterable[Option]) -> None:
    for option in options:
        value = getattr(words, option.name)
        if value is not None:
            raise exceptions.InvalidParameter(option.flag, value, f"only with {needed}")


def _location(flag: str, text: str) -> str:
    """Return an image's path or URL; a path is made absolute.

    :raises InvalidParameter: if the text is neither a URL nor the path of a file.
    """
    if "://" in text:
        return text
    path = verb.absolute(flag, text)
    try:
        is_file = not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_file = False
    except OSError:
        is_file = True  # the driver says why it cannot read the file
    if not is_file:
        raise exceptions.InvalidParameter(flag, text, "the path of a file, or a URL")
    return path


def gib(flag: str, size: float) -> int:
    """Return a disk's size in bytes, in whole MiB, rounded up.

    :param size: in GiB.
    :raises InvalidParameter: if no disk has this size.
    """
    if not 0 <= size <= MAX_DISK_BYTES / GIB:
        accepted = f"a number of GiB, 0 to {MAX_DISK_BYTES // GIB}"
        raise exceptions.InvalidParameter(flag, size, accepted)
    return math.ceil(size * GIB / MIB) * MIB


def mib(flag: str, size: int) -> int:
    """Return a disk's size in bytes.

    :param size: in MiB.
    :raises InvalidParameter: if no disk has this size.
    """
    if not 0 <= size <= MAX_DISK_BYTES // MIB:
        accepted = f"a whole number of MiB, 0 to {MAX_DISK_BYTES // MIB}"
        raise exceptions.InvalidParameter(flag, size, accepted)
    return size * MIB


#: The forms of option ``--nic``, one for each kind of port.
PORTS = ", ".join(f"{kind}=NAME" if kind.thing else str(kind) for kind in InterfaceKind)


#: More settings of an interface, for every port.
SETTINGS = ",model=MODEL, ,mac=MAC, ,mtu=BYTES and ,queues=N"

#: The settings of :func:`static_addresses`, which only a new guest's interfaces have.
ADDRESSES = ",address=ADDRESS/PREFIX and after the address ,gateway=ADDRESS"


def static_addresses(spec: str) -> tuple[str, tuple[StaticAddress, ...]]:
    """Return the value of option ``--nic`` without its static addresses, and the addresses.

    :param spec: has the parts ``address=ADDRESS/PREFIX``; the part ``gateway=ADDRESS`` belongs to
        the address before.
    :raises InvalidParameter: names the part of the value, and the accepted values.
    """
    rest: list[str] = []
    found: list[StaticAddress] = []
    for part in spec.split(","):
        key, _equals, value = part.partition("=")
        if key == "address":
            found.append(StaticAddress(address=value))
        elif key == "gateway":
            if not found or found[-1].gateway is not None:
                accepted = "one gateway, after its address"
                raise exceptions.InvalidParameter("nic gateway", value, accepted)
            found[-1] = dataclasses.replace(found[-1], gateway=value)
        else:
            rest.append(part)
    return ",".join(rest), tuple(found)


def interface(spec: str, hardware: Wishes, accepted: str = SETTINGS) -> Interface:
    """Return the interface that the value of option ``--nic`` describes.

    :param hardware: gives the model and the bandwidth of all interfaces.
    :param accepted: the accepted settings, for the refusal of other settings.
    :raises InvalidParameter: names the part of the value, and the accepted values.
    """
    first, *rest = spec.split(",")
    kind, _equals, source = first.partition("=")
    settings = pairs("nic", rest)
    if settings.keys() - {"model", "mac", "mtu", "queues"} or kind not in list(InterfaceKind):
        raise exceptions.InvalidParameter("nic", spec, f"{PORTS}, then {accepted}")
    limits = hardware.bandwidth()
    with properties.named({f"nic {way}": f"quota:vif_{way}_*" for way in limits}):
        return Interface(
            kind=InterfaceKind(kind),
            source=source or None,
            model=NicModel.parse("nic model", settings["model"])
            if "model" in settings
            else hardware.nic_model,
            mac=settings["mac"].lower() if "mac" in settings else random_mac(),
            mtu=_number("mtu", settings),
            queues=_number("queues", settings),
            inbound=limits.get("inbound"),
            outbound=limits.get("outbound"),
        )


#: The form of a published port.
PUBLISHED = "[ADDRESS:]HOST_PORT:GUEST_PORT[/tcp|/udp]"
PUBLISHED_HELP = (
    f"{PUBLISHED}, such as 2222:22; ADDRESS is an IPv4 address of the host, 0.0.0.0 for all"
    " (default: 127.0.0.1)"
)

_PORT = re.compile(
    r"(?:(?P<address>[^:/]+):)?(?P<port>[0-9]{1,5}):(?P<guest_port>[0-9]{1,5})(?:/(?P<protocol>\w+))?"
)


def published_port(flag: str, text: str) -> PublishedPort:
    """Return the published port that a word describes.

    :raises InvalidParameter: names the accepted form.
    """
    match = _PORT.fullmatch(text)
    if match is None:
        accepted = f"{PUBLISHED}, such as 8080:80 or 0.0.0.0:5353:53/udp"
        raise exceptions.InvalidParameter(flag, text, accepted)
    given = {name: value for name, value in match.groupdict().items() if value is not None}
    return PublishedPort(
        port=int(given.pop("port")),
        guest_port=int(given.pop("guest_port")),
        protocol=Protocol.parse(flag, given.pop("protocol", Protocol.TCP)),
        **given,
    )


def _number(name: str, settings: Mapping[str, str]) -> int | None:
    if name not in settings:
        return None
    try:
        return int(settings[name])
    except ValueError:
        raise exceptions.InvalidParameter(f"nic {name}", settings[name], "a whole number") from None
