# SPDX-License-Identifier: Apache-2.0
"""Refuses guests that this host's emulator or KVM cannot run, before the driver makes anything.

The checks ask libvirt by the steps that libvirt takes to start a guest, and try out on the emulator
the processors that only the emulator knows.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import logging
import re
from collections.abc import Callable, Collection

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware
from compute_driver.consoles import DisplayKind
from compute_driver.guest import Guest
from compute_driver.hardware import architecture, machines, tuning
from compute_driver.hardware.description import Hardware
from compute_driver.host import capabilities
from compute_driver.host.capabilities import Capabilities
from compute_driver.host.devices import SPICE_PACKAGE, Devices
from compute_driver.host.emulator import Emulators, Machine, Rehearsal
from compute_driver.host.kind import Kind
from compute_driver.xml import cpu as cpu_xml

LOG = logging.getLogger(__name__)

#: Number of names that a refusal proposes, and number of names that are tried out for a refusal.
_PROPOSED = 5
_TRIED = 12

#: Debian packages of QEMU's parts, from Debian 13 on; older emulators have these parts inside.
_MODULES = {
    DisplayKind.VNC: "an emulator that can",
    DisplayKind.SPICE: SPICE_PACKAGE,
}

_UNKNOWN_FEATURE = re.compile(
    r"unknown CPU feature:? (\S+)|\.([^.'\s]+)' not found|feature '(\S+)' is not available",
    re.IGNORECASE,
)
_MISSING_FEATURES = re.compile(r"does not provide required features: (.+)")


class Checks:
    """Checks guests against one host.

    :param emulators: asks emulators.
    :param able: asks libvirt.
    :ivar devices: checks the models of devices.
    """

    def __init__(self, emulators: Emulators, able: Capabilities) -> None:
        self._emulators = emulators
        self._capabilities = able
        self.devices = Devices(able, emulators)

    def check_machine(self, guest: Guest, path: str) -> None:
        """Refuse a machine type that the emulator lacks.

        :param path: the emulator.
        :raises NotOnThisHost: names the nearest machine types.
        """
        facts, machine = architecture.get(guest.architecture), architecture.machine_type(guest)
        names = machine_names(facts, self._emulators.describe(path).machines)
        if machine not in names:
            raise exceptions.NotOnThisHost("machine", machine, nearest(machine, names, facts.name))

    def check_hardware(self, guest: Guest, hardware: Hardware, path: str) -> None:
        """Refuse a CPU, number of CPUs, firmware, screen or device that the host lacks.

        :param path: the emulator.
        :raises NotOnThisHost: if the host lacks a part of the hardware; names the nearest.
        :raises MissingDependency: if the emulator cannot serve the screen.
        """
        kind = Kind.of(hardware, path)
        able = self._capabilities.domain(kind)
        limit = capabilities.max_vcpus(able)  # hardware/resolve.py knows the machine's own limit
        if limit is not None and guest.vcpus > limit:
            accepted = f"at most {limit}, which is what machine {hardware.machine} takes"
            raise exceptions.NotOnThisHost("vcpus", guest.vcpus, accepted)
        _check_firmware(hardware, able)
        self.devices.check(hardware, kind, able)
        _check_displays(hardware.display.kinds, path, able)
        cpu = hardware.processor
        if cpu.model or cpu.enable or cpu.disable:
            _Processor(self._capabilities, self._emulators, guest, hardware, kind, able).check_cpu()


class _Processor:
    """One processor on one machine."""

    def __init__(
        self,
        asked: Capabilities,
        emulators: Emulators,
        guest: Guest,
        hardware: Hardware,
        kind: Kind,
        able: etree._Element,
    ) -> None:
        self._capabilities = asked
        self._emulators = emulators
        self._guest = guest
        self._cpu = hardware.processor
        self._able = able
        # libvirt resolves an alias of the machine type.
        self._kind = dataclasses.replace(kind, machine=able.findtext("machine") or "")
        self._lenient = is_lenient(hardware.architecture, hardware.accelerator)
        #: Names the author of the model: the guest's user, or the operator.
        self._field = "cpu" if guest.cpu.model else _source(self._cpu.model, kind.accelerator)

    def check_cpu(self) -> None:
        self._check_model()
        self._check_features()
        argument = self._argument()
        # With KVM, libvirt has compared the model with the host; with TCG, the emulator decides.
        if argument and self._kind.accelerator is Accelerator.TCG:
            self._try_out(argument)

    def _try_out(self, argument: str) -> None:
        result = self._rehearse(argument)
        if result.refusal:
            raise self._refusal(result.refusal, self._taken)
        if result.left_out:
            # A missing feature matters to the user only if the user chose the model.
            LOG.log(
                logging.WARNING if self._guest.cpu.model else logging.DEBUG,
                "Guest %s: emulation leaves out features of CPU model %s: %s",
                self._guest.name,
                self._cpu.model,
                ", ".join(result.left_out),
            )

    def _rehearse(self, argument: str) -> Rehearsal:
        return self._emulators.rehearse(self._kind.emulator, self._kind.machine, argument)

    def _taken(self) -> list[str]:
        """Return the models that the emulator takes on this machine, the most similar first."""
        candidates = _by_likeness(self._cpu.model, self._others())[:_TRIED]
        return list(itertools.islice(filter(self._is_taken, candidates), _PROPOSED))

    def _is_taken(self, model: str) -> bool:
        try:
            return not self._rehearse(model).refusal
        except exceptions.ToolFailed:  # this guest is refused for another reason
            return False

    def _check_model(self) -> None:
        model = self._cpu.model
        modes = capabilities.cpu_modes(self._able)
        models = capabilities.cpu_models(self._able)
        usable = [name for name, whole in models.items() if whole or self._lenient]
        if model in (*modes, *usable):
            return
        known = [*modes, *usable]
        none = f"none: {self._kind.architecture} guests have QEMU's own processor"
        if not model:
            changes = ", ".join((*self._cpu.enable, *self._cpu.disable))
            accepted = "features of a CPU model that is named, too" if known else none
            raise exceptions.NotOnThisHost("cpu feature", changes, accepted)
        accepted = nearest(model, known, self._kind.architecture) if known else none
        raise exceptions.NotOnThisHost(self._field, model, accepted)

    def _others(self) -> list[str]:
        models = capabilities.cpu_models(self._able).items()
        return [name for name, whole in models if whole and name != self._cpu.model]

    def _check_features(self) -> None:
        if not self._cpu.enable:
            return
        names = self._capabilities.features(self._kind)
        for feature in self._cpu.enable if names else ():
            if feature not in names:
                raise exceptions.NotOnThisHost("cpu feature", feature, nearest(feature, names))

    def _argument(self) -> str:
        """Return the value of QEMU's option ``-cpu`` that libvirt makes; empty if none."""
        settings = cpu_xml.element(dataclasses.replace(self._cpu, topology=()))
        try:
            return self._capabilities.processor(self._kind, settings)
        except exceptions.LibvirtError as error:
            raise self._refusal(str(error), self._others) from error

    def _refusal(
        self, message: str, others: Callable[[], Collection[str]]
    ) -> exceptions.NotOnThisHost:
        """Return the error for a processor that libvirt or the emulator refuses.

        :param others: returns the models that both take.
        """
        named = {*self._cpu.enable, *self._cpu.disable}
        unknown = _UNKNOWN_FEATURE.search(message)
        missing = _MISSING_FEATURES.search(message)
        guilty = [name for name in (unknown.groups() if unknown else ()) if name in named]
        guilty += [name for name in (missing[1].split(", ") if missing else ()) if name in named]
        if not guilty:
            accepted = nearest(self._cpu.model, others(), self._kind.architecture)
            return exceptions.NotOnThisHost(self._field, self._cpu.model, f"{accepted}; {message}")
        names = self._capabilities.features(self._kind)
        names = names or self._emulators.describe(self._kind.emulator).features
        if not names or guilty[0] in names:  # known, but not by this model or to libvirt
            accepted = f"others, or another CPU model than {self._cpu.model}; {message}"
        else:
            accepted = nearest(guilty[0], names)
        return exceptions.NotOnThisHost("cpu feature", guilty[0], accepted)


def _source(model: str | None, accelerator: Accelerator) -> str:
    """Return the names of the options that may give the model to guests that name none."""
    if model in tuning.CPU_MODES and accelerator is Accelerator.KVM:
        return "[hypervisor] kvm_cpu_mode"
    tcg = " or tcg_cpu_models" if accelerator is Accelerator.TCG else ""
    return f"[hypervisor] cpu_models{tcg}"


def is_lenient(facts: architecture.Architecture, accelerator: Accelerator) -> bool:
    """Tell whether a guest starts even if its CPU lacks features of the model."""
    return accelerator is Accelerator.TCG and facts.lenient_features


def max_vcpus(machine: machines.Machine, able: etree._Element) -> int | None:
    """Return the highest number of virtual CPUs of a machine; None for an unknown number.

    :param able: libvirt's domain capabilities for the machine.
    """
    return min(filter(None, (machine.max_vcpus, capabilities.max_vcpus(able))), default=None)


def machine_names(facts: architecture.Architecture, machines: Collection[Machine]) -> list[str]:
    """Return the names and aliases of the machine types that the driver can describe.

    :param machines: the machine types of an emulator.
    """
    names = [name for machine in machines for name in (machine.alias, machine.name) if name]
    return [name for name in names if facts.knows(name)]


def nearest(wanted: str, names: Collection[str], architecture_name: str = "") -> str:
    """Return the accepted names in words, the most similar name first.

    :param architecture_name: the architecture whose description lists all names.
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


def _check_firmware(hardware: Hardware, able: etree._Element) -> None:
    if not hardware.boot.uefi:
        return
    package = hardware.architecture.firmware_package
    if not capabilities.has_uefi(able):
        others = [other for other in hardware.family.firmwares if other is not Firmware.UEFI]
        accepted = ", ".join([*others, "a kernel given directly"])
        accepted += f"; or install UEFI firmware (Debian package {package})"
        raise exceptions.NotOnThisHost("firmware", str(Firmware.UEFI), accepted)
    if hardware.boot.secure_boot and not capabilities.has_secure_boot(able):
        accepted = f"off, or install firmware that has it (Debian package {package})"
        raise exceptions.NotOnThisHost("secure_boot", True, accepted)
