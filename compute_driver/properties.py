# SPDX-License-Identifier: Apache-2.0
"""OpenStack's properties of images and extra specs of flavors, as far as they describe hardware.

Sources: Glance, "Useful image properties"; Nova, "Extra Specs".  The names of this project's own
are ``hw_cpu_model`` and ``hw_cpu_features`` for images, ``driver:cpu_model`` and
``driver:cpu_features`` for flavors, since OpenStack has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oslo_utils import strutils

from compute_driver import architecture, exceptions, topology
from compute_driver.guest import (
    MAX_VCPUS,
    ConsoleModel,
    Cpu,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    VideoModel,
    VirtioForm,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """What is wanted of a guest's hardware; None where nothing is said.

    The fields are those of :class:`~compute_driver.guest.Guest` and its parts.  No property of
    OpenStack's says anything of ``console``, ``virtio`` and ``balloon``.

    :param topology: numbers of ``sockets``, ``cores`` and ``threads``.
    :param topology_limits: the most of them.
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

    def cpu(self, vcpus: int) -> Cpu:
        """Return the processor of a guest with *vcpus* virtual processors.

        :raises InvalidParameter: if the topology does not make that many.
        """
        return Cpu(
            model=self.cpu_model,
            enable=self.cpu_enable,
            disable=self.cpu_disable,
            topology=topology.fit(vcpus, self.topology, self.topology_limits),
        )


@dataclasses.dataclass(frozen=True)
class Property:
    """What one property means.

    :param about: what it says of the guest, in a few words.
    :param read: from its name and text to the fields of :class:`Hardware` that it sets.
    """

    about: str
    read: Callable[[str, str], Mapping[str, Any]]


def read(pairs: Iterable[tuple[str, str]]) -> Hardware:
    """Return what properties say together, in any order.

    A more telling name of the architecture wins: ``architecture`` is what the image holds,
    ``hw_architecture`` what it needs, ``hw_emulation_architecture`` what is to be emulated for it.
    The lowest of several limits holds, and CPU features add up; any other contradiction, such as
    of flavor and image, is refused.

    :param pairs: names and values.
    :raises InvalidParameter: if a name is not known, a value not accepted, or two contradict.
    """
    found: dict[str, Any] = {}
    said: dict[str, tuple[str, str]] = {}
    for name, text in sorted(pairs, key=lambda pair: _telling(pair[0])):
        if name not in PROPERTIES:
            raise exceptions.InvalidParameter("property", name, PROPERTIES)
        for field, value in PROPERTIES[name].read(name, text).items():
            if field in found and _telling(name) == _telling(said[field][0]):
                value = _together((name, text), said[field], field, found[field], value)
            found[field], said[field] = value, (name, text)
    return Hardware(**found)


def _together(
    now: tuple[str, str], earlier: tuple[str, str], field: str, before: Any, value: Any
) -> Any:
    """Return what two properties, each a name and a text, say of one field."""
    if isinstance(value, tuple):
        return tuple(dict.fromkeys((*before, *value)))
    join = min if field == "topology_limits" else _same(now, earlier)
    if isinstance(value, dict):
        both = {level: join(before[level], value[level]) for level in before.keys() & value.keys()}
        return {**before, **value, **both}
    return join(before, value)


def _same(now: tuple[str, str], earlier: tuple[str, str]) -> Callable[[Any, Any], Any]:
    def same(before: Any, value: Any) -> Any:
        if before != value:
            accepted = f"what agrees with {earlier[0]}={earlier[1]}"
            raise exceptions.InvalidParameter(*now, accepted)
        return value

    return same


def truth(name: str, text: str) -> bool:
    """Return what a word of yes or no says.

    :raises InvalidParameter: names the words.
    """
    try:
        return strutils.bool_from_string(text, strict=True)
    except ValueError:
        words = (*strutils.TRUE_STRINGS, *strutils.FALSE_STRINGS)
        raise exceptions.InvalidParameter(name, text, words) from None


def _telling(name: str) -> int:
    return _ARCHITECTURES.get(name, 0)


def _word(name: str, text: str, words: Mapping[str, Any]) -> Any:
    try:
        return words[text.lower()]
    except KeyError:
        raise exceptions.InvalidParameter(name, text, words) from None


def _number(name: str, text: str) -> int:
    short = len(text) <= len(str(MAX_VCPUS))
    if not (short and text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_VCPUS):
        raise exceptions.InvalidParameter(name, text, f"a whole number, 1 to {MAX_VCPUS}")
    return int(text)


def _features(name: str, text: str) -> Mapping[str, Any]:
    """Read ``+avx2,-svm``; a name without a sign is enabled."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return {
        "cpu_enable": tuple(word.lstrip("+") for word in words if not word.startswith("-")),
        "cpu_disable": tuple(word[1:] for word in words if word.startswith("-")),
    }


def _sets(field: str, convert: Callable[[str, str], Any]) -> Callable[[str, str], dict[str, Any]]:
    return lambda name, text: {field: convert(name, text)}


def _level(field: str, level: str) -> Callable[[str, str], dict[str, Any]]:
    return lambda name, text: {field: {level: _number(name, text)}}


def _text(_name: str, text: str) -> str:
    return text


def _one_of(words: Mapping[str, Any]) -> Callable[[str, str], Any]:
    return lambda name, text: _word(name, text, words)


def _architecture(name: str, text: str) -> str:
    return architecture.get(text, name).name


#: How telling names of the architecture are, the most telling one read last.
_ARCHITECTURES = {"architecture": 1, "hw_architecture": 2, "hw_emulation_architecture": 3}

#: "optional" asks for nothing: a guest that can do without gets the simpler firmware.
_SECURE_BOOT_WORDS: Mapping[str, Mapping[str, bool]] = {
    "required": {"secure_boot": True},
    "optional": {},
    "disabled": {"secure_boot": False},
}

_ARCHITECTURE = Property("architecture", _sets("architecture", _architecture))
_CPU_MODEL = Property("CPU model", _sets("cpu_model", _text))
_CPU_FEATURES = Property("CPU features, such as +aes,-svm", _features)
_SECURE_BOOT = Property(
    "secure boot: required, optional or disabled",
    lambda name, text: _word(name, text, _SECURE_BOOT_WORDS),
)

#: All properties that are understood, by the names that OpenStack gives them.
PROPERTIES: Mapping[str, Property] = {
    **dict.fromkeys(_ARCHITECTURES, _ARCHITECTURE),
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
    "hw_scsi_model": Property(
        "model of the SCSI controller: virtio-scsi",
        lambda name, text: _word(name, text, {"virtio-scsi": {}}),
    ),
    "hw_vif_model": Property("network card", _sets("nic_model", NicModel.parse)),
    "hw_video_model": Property("display adapter", _sets("video", VideoModel.parse)),
    "hw_input_bus": Property("bus of keyboard and pointer", _sets("input", InputModel.parse)),
    "hw_pointer_model": Property(
        "pointer: usbtablet", _sets("input", _one_of({"usbtablet": InputModel.USB}))
    ),
    "hw_rng_model": Property("random numbers", _sets("rng", _one_of({"virtio": True}))),
    "hw_rng:allowed": Property("whether there are random numbers", _sets("rng", truth)),
    "hw_qemu_guest_agent": Property("the guest agent's channel", _sets("guest_agent", truth)),
}
