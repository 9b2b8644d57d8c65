# SPDX-License-Identifier: Apache-2.0
"""What libvirt offers for guests of one architecture and machine.

Only questions about one emulator are asked.  ``virConnectGetCapabilities`` and, on a cold cache,
``virConnectGetVersion`` start every emulator that is installed, for half a second each.

Source: libvirt, "Domain capabilities XML format".
"""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.host import emulator
from compute_driver.host.cache import Cache, is_recent
from compute_driver.libvirt.connection import Connection

_EXPAND = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Answer:
    """What libvirt said.

    :param xml: the domain capabilities; empty if it refused.
    :param refusal: its reason, else empty.
    :param at: when, in seconds since the epoch.
    """

    xml: str
    refusal: str
    at: float

    def holds(self) -> bool:
        """Tell whether it need not be asked again."""
        return not self.refusal or is_recent(self.at)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Features:
    """What a processor has, by libvirt's names."""

    names: tuple[str, ...]


class Capabilities:
    """Asks libvirt, once as long as the host stays the same.

    libvirt has a cache of its own, but where QEMU's user may not open ``/dev/kvm`` and root may,
    it starts the emulator for each question.

    :param connection: the gateway to libvirt.
    :param cache: keeps what it said.
    :param host: returns what identifies the state of the host's KVM.
    """

    def __init__(self, connection: Connection, cache: Cache, host: Callable[[], Any]) -> None:
        self._connection = connection
        self._cache = cache
        self._host = host

    def domain(
        self, path: str, architecture: str, machine: str, accelerator: Accelerator
    ) -> etree._Element:
        """Return the domain capabilities.

        :param path: the emulator.
        :param architecture: canonical name.
        :param machine: QEMU machine type.
        :raises LibvirtError: if it offers none; with its reason.
        """
        question = (path, architecture, machine, accelerator.domain_type)
        found = self._cache.get(
            f"domain-{architecture}-{machine}-{accelerator}",
            self._fingerprint(*question),
            _Answer,
            lambda: self._ask(question),
            holds=_Answer.holds,
        )
        if found.refusal:
            raise exceptions.LibvirtError(found.refusal)
        return etree.fromstring(found.xml)

    def features(
        self, path: str, architecture: str, machine: str, accelerator: Accelerator, model: str
    ) -> tuple[str, ...]:
        """Return the names of the features that guests' processors of one model have.

        :param model: a named CPU model, or a word for a CPU chosen by the host.
        :return: empty where libvirt does not know.
        :raises LibvirtError: if it offers no such guests; with its reason.
        """
        able = self.domain(path, architecture, machine, accelerator)
        return self._cache.get(
            f"features-{architecture}-{machine}-{accelerator}",
            [*self._fingerprint(path, architecture, machine, accelerator.domain_type), model],
            _Features,
            lambda: _Features(names=tuple(cpu_features(self._connection, path, able, model))),
        ).names

    def _fingerprint(self, path: str, *question: str) -> list[Any]:
        version = self._connection.run(libvirt.virConnect.getLibVersion)
        return [
            *(self._connection.uri, version, self._host(), [path, *question]),
            *(emulator.fingerprint(path), _configuration()),
        ]

    def _ask(self, question: tuple[str, str, str, str]) -> _Answer:
        xml = refusal = ""
        try:
            xml = self._connection.run(libvirt.virConnect.getDomainCapabilities, *question)
        except exceptions.LibvirtError as error:
            refusal = str(error)
        return _Answer(xml=xml, refusal=refusal, at=time.time())


def _configuration() -> list[list[Any]]:
    """Return the files on which libvirt's answer depends too, with the times of their changes.

    Those of the driver's own daemon are not among them: nobody but the driver writes them.

    Source: libvirt's qemu.conf, QEMU's firmware.json; session daemons look at the user's own too.
    """
    own = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))
    settings = [Path("/etc/libvirt/qemu.conf"), own / "libvirt/qemu.conf"]
    for directory in (Path("/usr/share"), Path("/etc"), own):
        # Of a descriptor that is edited in place, the directory knows nothing.
        settings += sorted(directory.glob("qemu/firmware/*.json"))
    return [[str(path), changed] for path in settings if (changed := _changed(path))]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def cpu_models(able: etree._Element) -> dict[str, bool]:
    """Return the named CPU models, and of each whether its guest has all that it stands for."""
    # lxml's iterfind knows no "!=".
    custom = able.iterfind("cpu/mode[@name='custom']/model")
    return {model.text or "": model.get("usable") != "no" for model in custom}


def cpu_modes(able: etree._Element) -> list[str]:
    """Return the words that stand for a CPU chosen by the host."""
    modes = [mode.get("name", "") for mode in able.iterfind("cpu/mode[@supported='yes']")]
    return [mode for mode in modes if mode != "custom"]


def max_vcpus(able: etree._Element) -> int | None:
    """Return how many CPUs a machine takes, if libvirt knows."""
    found = able.find("vcpu")
    return None if found is None else int(found.get("max", 0)) or None


def has_uefi(able: etree._Element) -> bool:
    """Tell whether the host has UEFI firmware for such a machine."""
    return "efi" in {value.text for value in able.iterfind("os/enum[@name='firmware']/value")}


def has_secure_boot(able: etree._Element) -> bool:
    """Tell whether that firmware can be one that starts signed boot loaders only."""
    offered = able.iterfind("os/loader/enum[@name='secure']/value")
    return has_uefi(able) and "yes" in {value.text for value in offered}


def displays(able: etree._Element) -> set[str]:
    """Return how the emulator serves screens, by libvirt's words."""
    offered = able.iterfind("devices/graphics/enum[@name='type']/value")
    return {value.text or "" for value in offered}


def cpu_features(
    connection: Connection, path: str, able: etree._Element, model: str = ""
) -> list[str]:
    """Return the names of the features that a guest can have, as libvirt spells them.

    :param model: only those of this named model.
    :return: empty where libvirt does not know, which is on most architectures.
    """
    best = able.find("cpu/mode[@name='host-model']")
    if best is None or best.find("model") is None:
        return []
    cpu = etree.Element("cpu", mode="custom", match="exact")
    if model in cpu_models(able):
        etree.SubElement(cpu, "model").text = model
    else:
        cpu.extend(copy.deepcopy(best))
    text = connection.run(
        libvirt.virConnect.baselineHypervisorCPU,
        path,
        able.findtext("arch"),
        able.findtext("machine"),
        able.findtext("domain"),
        [etree.tostring(cpu).decode()],
        _EXPAND,
    )
    features = etree.fromstring(text).iterfind("feature")
    return [each.get("name", "") for each in features if each.get("policy") != "disable"]
