# SPDX-License-Identifier: Apache-2.0
"""Libvirt's domain capabilities for guests of one architecture and machine.

The driver asks libvirt about one emulator only: ``virConnectGetCapabilities`` and, on a cold cache,
``virConnectGetVersion`` start every installed emulator, for half a second each.

Source: libvirt, "Domain capabilities XML format".
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.host import emulator
from compute_driver.host.arguments import arguments
from compute_driver.host.cache import Attempt, Cache
from compute_driver.host.kind import Kind
from compute_driver.libvirt.connection import Connection, version
from compute_driver.system import home
from compute_driver.xml.elements import E, Element

#: QEMU's option for sound cards until QEMU 7.1, which an old libvirt uses for the PC's speaker.
_DROPPED = "-soundhw"

#: Number of processors to keep for each kind of guest.
_PROCESSORS = 16

_EXPAND = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answer(Attempt):
    """An answer of libvirt.

    :param xml: the domain capabilities; empty after a refusal.
    """

    xml: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Features:
    """Features of a processor, by libvirt's names."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
    """Whether libvirt can make a device."""

    made: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Argument:
    """QEMU's argument for a processor.

    :param text: value of option ``-cpu``; empty without the option.
    """

    text: str


class Capabilities:
    """Asks libvirt for domain capabilities, once as long as the host stays the same.

    libvirt has its own cache, but starts the emulator for each question if root may open
    ``/dev/kvm`` and QEMU's user may not.

    :param connection: the gateway to libvirt.
    :param cache: keeps libvirt's answers.
    :param host: returns a fingerprint of the host's KVM.
    """

    def __init__(self, connection: Connection, cache: Cache, host: Callable[[], Any]) -> None:
        self._connection = connection
        self._cache = cache
        self._host = host

    def domain(self, kind: Kind) -> etree._Element:
        """Return the domain capabilities.

        :raises LibvirtError: if libvirt offers no such guests; has libvirt's reason.
        """
        answer = self._cache.get(
            f"domain-{kind}",
            self._fingerprint(kind),
            _Answer,
            lambda: self._ask(kind),
            holds=_Answer.holds,
        )
        if answer.problem:
            raise exceptions.LibvirtError(answer.problem)
        return etree.fromstring(answer.xml)

    def features(self, kind: Kind, model: str = "") -> tuple[str, ...]:
        """Return the features that guests' processors can have, by libvirt's names.

        :param model: a named CPU model limits the result to its features.
        :return: the names; empty if libvirt does not know the features.
        :raises LibvirtError: if libvirt offers no such guests; has libvirt's reason.
        """
        return self._cache.get(
            f"features-{kind}",
            [*self._fingerprint(kind), model],
            _Features,
            lambda: _Features(names=tuple(self._ask_features(kind, model))),
            most=_PROCESSORS,
        ).names

    def has_sound(self, kind: Kind, model: str) -> bool:
        """Tell whether libvirt can give guests a sound card.

        The domain capabilities have no sound cards.

        :param model: libvirt's name of the sound card.
        """
        return self._cache.get(
            f"sound-{model}-{kind}",
            self._fingerprint(kind),
            _Made,
            lambda: _Made(made=self._makes_sound(kind, model)),
        ).made

    def processor(self, kind: Kind, settings: Sequence[Element]) -> str:
        """Return the value of QEMU's option ``-cpu`` that libvirt makes; empty without the option.

        :param settings: the elements of the processor in the domain.
        :raises LibvirtError: if libvirt cannot make the processor; has libvirt's reason.
        """
        words = [etree.tostring(element, encoding="unicode") for element in settings]
        return self._cache.get(
            f"processors-{kind}",
            [*self._fingerprint(kind), words],
            _Argument,
            lambda: self._make_processor(kind, settings),
            most=_PROCESSORS,
        ).text

    def _make_processor(self, kind: Kind, settings: Sequence[Element]) -> _Argument:
        # libvirt adds these devices by itself, and the machine may lack their bus.
        devices = [E.controller(type="usb", model="none"), E.memballoon(model="none")]
        words = arguments(self._connection, kind, settings=settings, devices=devices)
        return _Argument(text=words[words.index("-cpu") + 1] if "-cpu" in words else "")

    def _makes_sound(self, kind: Kind, model: str) -> bool:
        try:
            words = arguments(self._connection, kind, devices=[E.sound(model=model)])
        except exceptions.LibvirtError:
            return False
        return _DROPPED not in words

    def _ask_features(self, kind: Kind, model: str) -> list[str]:
        able = self.domain(kind)
        best = able.find("cpu/mode[@name='host-model']")
        if best is None or best.find("model") is None:
            return []  # as on most architectures
        if model not in ("", *cpu_modes(able), *cpu_models(able)):
            return []
        cpu = E.cpu(mode="custom", match="exact")
        if model in cpu_models(able):
            cpu.append(E.model(model))
        else:
            cpu.extend(list(best))
        text = self._connection.run(
            libvirt.virConnect.baselineHypervisorCPU,
            kind.emulator,
            able.findtext("arch"),
            able.findtext("machine"),
            able.findtext("domain"),
            [etree.tostring(cpu, encoding="unicode")],
            _EXPAND,
        )
        features = etree.fromstring(text).iterfind("feature")
        return [f.get("name", "") for f in features if f.get("policy") != "disable"]

    def _fingerprint(self, kind: Kind) -> list[Any]:
        return [
            self._connection.uri,
            self._connection.run(version),
            self._host(),
            list(kind.words),
            emulator.fingerprint(kind.emulator),
            _configuration(),
        ]

    def _ask(self, kind: Kind) -> _Answer:
        xml = problem = ""
        try:
            xml = self._connection.run(libvirt.virConnect.getDomainCapabilities, *kind.words)
        except exceptions.LibvirtError as error:
            problem = str(error)
        return _Answer(xml=xml, problem=problem, at=time.time())


def _configuration() -> list[list[Any]]:
    """Return the files that change libvirt's answer, with their modification times.

    The files of the embedded daemon are not in the list: only the driver writes them.

    Source: libvirt's qemu.conf, QEMU's firmware.json; session daemons read the user's files too.
    """
    own = home.find_base("XDG_CONFIG_HOME", ".config")
    users = [own] if own else []
    files = [Path("/etc/libvirt/qemu.conf"), *(base / "libvirt/qemu.conf" for base in users)]
    for directory in (Path("/usr/share"), Path("/etc"), *users):
        # An edit in place changes the time of the descriptor, not of its directory.
        files += sorted(directory.glob("qemu/firmware/*.json"))
    return [[str(path), changed] for path in files if (changed := _change_time(path))]


def _change_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def cpu_models(able: etree._Element) -> dict[str, bool]:
    """Return the named CPU models, each with whether a guest gets all features of the model."""
    # lxml's iterfind knows no "!=".
    custom = able.iterfind("cpu/mode[@name='custom']/model")
    return {model.text or "": model.get("usable") != "no" for model in custom}


def cpu_modes(able: etree._Element) -> list[str]:
    """Return the CPU modes that choose the CPU by the host, such as ``host-model``."""
    modes = [mode.get("name", "") for mode in able.iterfind("cpu/mode[@supported='yes']")]
    return [mode for mode in modes if mode != "custom"]


def max_vcpus(able: etree._Element) -> int | None:
    """Return the largest number of virtual processors; None if libvirt does not know it."""
    vcpu = able.find("vcpu")
    return None if vcpu is None else int(vcpu.get("max", 0)) or None


def videos(able: etree._Element) -> set[str]:
    """Return the display adapters, by libvirt's words."""
    offered = able.iterfind("devices/video/enum[@name='modelType']/value")
    return {value.text or "" for value in offered}


def has_uefi(able: etree._Element) -> bool:
    """Tell whether the host has UEFI firmware for the machine."""
    return "efi" in {value.text for value in able.iterfind("os/enum[@name='firmware']/value")}


def has_secure_boot(able: etree._Element) -> bool:
    """Tell whether the host has UEFI firmware that starts signed boot loaders only."""
    offered = able.iterfind("os/loader/enum[@name='secure']/value")
    return has_uefi(able) and "yes" in {value.text for value in offered}


def displays(able: etree._Element) -> set[str]:
    """Return the protocols by which the emulator serves screens, by libvirt's words."""
    offered = able.iterfind("devices/graphics/enum[@name='type']/value")
    return {value.text or "" for value in offered}
