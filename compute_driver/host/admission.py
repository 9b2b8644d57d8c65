# SPDX-License-Identifier: Apache-2.0
"""Refuses, before anything is made, what this host's emulator or KVM cannot give a guest.

libvirt is asked by its own steps towards a start, and what only the emulator knows is rehearsed
with it.
"""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import logging
import re
import shlex
from collections.abc import Callable, Collection

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware
from compute_driver.consoles import DisplayKind, Served
from compute_driver.guest import Cpu, Guest
from compute_driver.hardware import architecture
from compute_driver.host import capabilities
from compute_driver.host.capabilities import Capabilities
from compute_driver.host.emulator import Emulators, Machine, Rehearsal
from compute_driver.libvirt.connection import Connection
from compute_driver.xml import cpu as cpu_xml
from compute_driver.xml import graphics
from compute_driver.xml.elements import E

LOG = logging.getLogger(__name__)

#: How many names a refusal proposes, and how many are tried out for it.
_PROPOSED = 5
_TRIED = 12

#: Debian packages of QEMU's parts, from Debian 13 on; before, they came with every emulator.
_MODULES = {
    DisplayKind.VNC: "an emulator that can",
    DisplayKind.SPICE: "qemu-system-modules-spice",
}

_UNKNOWN_FEATURE = re.compile(
    r"unknown CPU feature:? (\S+)|\.([^.'\s]+)' not found|feature '(\S+)' is not available",
    re.IGNORECASE,
)
_MISSING_FEATURES = re.compile(r"does not provide required features: (.+)")


class Models:
    """Checks guests against one host.

    :param connection: the gateway to libvirt.
    :param emulators: asks emulators.
    :param able: asks libvirt for domain capabilities.
    """

    def __init__(self, connection: Connection, emulators: Emulators, able: Capabilities) -> None:
        self._connection = connection
        self._emulators = emulators
        self._capabilities = able

    def check(
        self, guest: Guest, cpu: Cpu, path: str, accelerator: Accelerator, served: Served
    ) -> None:
        """Refuse a machine, CPU, number of CPUs or firmware that cannot be had.

        :param cpu: the processor that the guest is to have, defaults filled in.
        :param path: the emulator.
        :param served: how the guest's screen is to be served.
        :raises InvalidParameter: names the nearest of those that can; it is NotOnThisHost but for
            what no emulator has.
        :raises MissingDependency: if the emulator cannot serve the screen.
        """
        facts = architecture.get(guest.architecture)
        machine = guest.machine or facts.machine
        names = machine_names(facts, self._emulators.describe(path).machines)
        if machine not in names:
            raise exceptions.NotOnThisHost("machine", machine, nearest(machine, names, facts.name))
        able = self._capabilities.domain(path, facts.name, machine, accelerator)
        family = architecture.machine(guest)
        limit = max_vcpus(family, able)
        if limit is not None and guest.vcpus > limit:
            accepted = f"at most {limit}, which is what machine {machine} takes"
            everywhere = limit == family.max_vcpus
            refusal = exceptions.InvalidParameter if everywhere else exceptions.NotOnThisHost
            raise refusal("vcpus", guest.vcpus, accepted)
        _check_firmware(guest, facts, able)
        _check_displays(graphics.kinds(guest, architecture.machine(guest), served), path, able)
        if cpu.model is not None or cpu.enable or cpu.disable:
            _Processor(self._connection, self._emulators, guest, cpu, path, able).check(accelerator)


class _Processor:
    """One processor on one machine."""

    def __init__(
        self,
        connection: Connection,
        emulators: Emulators,
        guest: Guest,
        cpu: Cpu,
        path: str,
        able: etree._Element,
    ) -> None:
        self._connection = connection
        self._emulators = emulators
        self._guest = guest
        self._cpu = cpu
        self._path = path
        self._able = able
        self._architecture = architecture.get(guest.architecture).name
        self._machine = able.findtext("machine") or ""
        #: Who named the model: the guest's user, or the operator.
        self._field = "cpu" if guest.cpu.model else "[hypervisor] tcg_cpu_models"

    def check(self, accelerator: Accelerator) -> None:
        self._check_model(lenient=is_lenient(architecture.get(self._architecture), accelerator))
        self._check_features()
        option = self._option(accelerator)
        # With KVM libvirt has compared it with the host by now; without, the emulator knows best.
        if option and accelerator is Accelerator.TCG:
            self._try_out(option)

    def _try_out(self, option: str) -> None:
        found = self._rehearse(option)
        if found.refusal:
            raise self._refusal(found.refusal, self._taken)
        if found.left_out:
            # Of a model that nobody asked for, nobody misses any.
            LOG.log(
                logging.WARNING if self._guest.cpu.model else logging.DEBUG,
                "Guest %s: emulation leaves out what its CPU model %s has: %s",
                self._guest.name,
                self._cpu.model,
                ", ".join(found.left_out),
            )

    def _rehearse(self, option: str) -> Rehearsal:
        return self._emulators.rehearse(self._path, self._machine, option)

    def _taken(self) -> list[str]:
        """Return the models most like the guest's that the emulator takes on this machine."""
        candidates = _by_likeness(self._cpu.model or "", self._others())[:_TRIED]
        return list(itertools.islice(filter(self._is_taken, candidates), _PROPOSED))

    def _is_taken(self, model: str) -> bool:
        try:
            return not self._rehearse(model).refusal
        except exceptions.ToolFailed:  # this guest is refused for another reason
            return False

    def _check_model(self, *, lenient: bool) -> None:
        model = self._cpu.model
        modes = capabilities.cpu_modes(self._able)
        models = capabilities.cpu_models(self._able)
        usable = [name for name, whole in models.items() if whole or lenient]
        if model in (*modes, *usable):
            return
        known = [*modes, *usable]
        none = f"none: {self._architecture} guests have QEMU's own processor"
        if model is None:
            changes = ", ".join((*self._cpu.enable, *self._cpu.disable))
            accepted = "features of a CPU model that is named, too" if known else none
            raise exceptions.NotOnThisHost("cpu feature", changes, accepted)
        accepted = nearest(model, known, self._architecture) if known else none
        raise exceptions.NotOnThisHost(self._field, model, accepted)

    def _others(self) -> list[str]:
        models = capabilities.cpu_models(self._able).items()
        return [name for name, whole in models if whole and name != self._cpu.model]

    def _check_features(self) -> None:
        if not self._cpu.enable:
            return
        names = capabilities.cpu_features(self._connection, self._path, self._able)
        for feature in self._cpu.enable if names else ():
            if feature not in names:
                raise exceptions.NotOnThisHost("cpu feature", feature, nearest(feature, names))

    def _option(self, accelerator: Accelerator) -> str:
        """Return what libvirt would pass to QEMU's option ``-cpu``; empty if nothing."""
        domain = E.domain(
            {"type": accelerator.domain_type},
            E.name("rehearsal"),
            E.memory("64", unit="MiB"),
            E.vcpu("1"),
            E.os(E.type("hvm", arch=self._architecture, machine=self._machine)),
            *cpu_xml.element(
                Cpu(model=self._cpu.model, enable=self._cpu.enable, disable=self._cpu.disable)
            ),
            # Not what libvirt would add: there may be no bus for it.
            E.devices(
                E.emulator(self._path),
                E.controller(type="usb", model="none"),
                E.memballoon(model="none"),
            ),
        )
        try:
            line = self._connection.run(
                libvirt.virConnect.domainXMLToNative, "qemu-argv", etree.tostring(domain).decode()
            )
        except exceptions.LibvirtError as error:
            raise self._refusal(str(error), self._others) from error
        words = shlex.split(line)
        return words[words.index("-cpu") + 1] if "-cpu" in words else ""

    def _refusal(
        self, said: str, others: Callable[[], Collection[str]]
    ) -> exceptions.NotOnThisHost:
        """Return the error for a processor that libvirt or the emulator does not take.

        :param others: returns the models that are taken.
        """
        named = {*self._cpu.enable, *self._cpu.disable}
        unknown = _UNKNOWN_FEATURE.search(said)
        missing = _MISSING_FEATURES.search(said)
        guilty = [name for name in (unknown.groups() if unknown else ()) if name in named]
        guilty += [name for name in (missing[1].split(", ") if missing else ()) if name in named]
        if not guilty:
            accepted = nearest(self._cpu.model or "", others(), self._architecture)
            return exceptions.NotOnThisHost(self._field, self._cpu.model, f"{accepted}; {said}")
        names: Collection[str] = capabilities.cpu_features(self._connection, self._path, self._able)
        names = names or self._emulators.describe(self._path).features
        if not names or guilty[0] in names:  # known, but not by this model or to libvirt
            accepted = f"others, or another CPU model than {self._cpu.model}; {said}"
        else:
            accepted = nearest(guilty[0], names)
        return exceptions.NotOnThisHost("cpu feature", guilty[0], accepted)


def is_lenient(facts: architecture.Architecture, accelerator: Accelerator) -> bool:
    """Tell whether a guest is started even if its CPU lacks features of the model."""
    return accelerator is Accelerator.TCG and facts.lenient_features


def max_vcpus(machine: architecture.Machine, able: etree._Element) -> int | None:
    """Return how many virtual processors a machine takes; None if that is not known.

    :param able: libvirt's domain capabilities for it.
    """
    return min(filter(None, (machine.max_vcpus, capabilities.max_vcpus(able))), default=None)


def machine_names(facts: architecture.Architecture, machines: Collection[Machine]) -> list[str]:
    """Return the names, aliases too, of those machine types that the driver can describe.

    :param machines: what an emulator has.
    """
    names = [name for each in machines for name in (each.alias, each.name) if name]
    return [name for name in names if is_known(facts, name)]


def is_known(facts: architecture.Architecture, machine: str) -> bool:
    """Tell whether the driver can describe guests with that machine type."""
    patterns = [pattern for family in facts.machines for pattern in family.names]
    return any(fnmatch.fnmatchcase(machine, pattern) for pattern in patterns)


def nearest(wanted: str, names: Collection[str], architecture_name: str = "") -> str:
    """Return in words what is accepted instead: the names most like it first.

    :param architecture_name: where to see all of them.
    """
    ordered = _by_likeness(wanted, names)
    text = ", ".join(ordered[:_PROPOSED]) or "none"
    others = len(ordered) - _PROPOSED
    if others <= 0:
        return text
    return "; ".join([f"{text} and {others} others", *_where(architecture_name)])


def _by_likeness(wanted: str, names: Collection[str]) -> list[str]:
    lowered = {name.lower(): name for name in sorted(names)}
    close = difflib.get_close_matches(wanted.lower(), lowered, n=_TRIED, cutoff=0.3)
    ordered = dict.fromkeys([*close, *lowered])
    return [lowered[name] for name in ordered]


def _where(architecture_name: str) -> list[str]:
    if not architecture_name:
        return []
    return [f"see 'compute-driver host show --arch {architecture_name}'"]


def _check_displays(displays: Collection[DisplayKind], path: str, able: etree._Element) -> None:
    for kind in displays:
        if kind not in capabilities.displays(able):
            raise exceptions.MissingDependency(
                f"{path} cannot serve screens by {kind}, as [hypervisor] {kind}_listen wants:"
                f" unset it, or install {_MODULES[kind]}"
            )


def _check_firmware(guest: Guest, facts: architecture.Architecture, able: etree._Element) -> None:
    if not architecture.has_uefi(guest):
        return
    package = facts.firmware_package
    if not capabilities.has_uefi(able):
        others = [f for f in architecture.machine(guest).firmwares if f is not Firmware.UEFI]
        accepted = ", ".join([*others, "a kernel given directly"])
        accepted += f"; or install UEFI firmware (Debian package {package})"
        raise exceptions.NotOnThisHost("firmware", str(Firmware.UEFI), accepted)
    if guest.secure_boot and not capabilities.has_secure_boot(able):
        accepted = f"off, or install firmware that has it (Debian package {package})"
        raise exceptions.NotOnThisHost("secure_boot", True, accepted)
