# SPDX-License-Identifier: Apache-2.0
"""The guests of each architecture that this host can run, and the accelerator of the guests.

Emulators take long to start, so the driver starts only the requested and the configured ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lxml import etree
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware, VirtType
from compute_driver.guest import Guest
from compute_driver.hardware import acceleration, architecture, tuning
from compute_driver.hardware.acceleration import Ability, Decision
from compute_driver.hardware.architecture import Architecture
from compute_driver.hardware.description import Hardware
from compute_driver.hardware.machines import Machine
from compute_driver.host import capabilities, kvm, refusal
from compute_driver.host.cache import Cache
from compute_driver.host.capabilities import Capabilities
from compute_driver.host.emulator import Emulators
from compute_driver.host.kind import Kind
from compute_driver.info import (
    BIOS,
    UEFI,
    UEFI_WITH_SECURE_BOOT,
    ArchitectureInfo,
    MachineType,
)
from compute_driver.libvirt.connection import Connection
from compute_driver.system import tools

#: The emulator of the host's own architecture on distributions that use another name than QEMU.
#: Source: libvirt's virQEMUCapsGetDefaultEmulator.
NATIVE_EMULATOR = "/usr/libexec/qemu-kvm"

_REMEDY = "let the user that libvirt runs QEMU as open /dev/kvm: add it to group kvm"


class Detection:
    """Finds out what the host can run, and again after each change of the host.

    :param conf: configuration with group ``[hypervisor]``.
    :param connection: the gateway to libvirt.
    """

    def __init__(self, conf: cfg.ConfigOpts, connection: Connection) -> None:
        self._conf = conf
        self._connection = connection
        self.architecture = architecture.of_host()
        cache = Cache(Path(conf.hypervisor.state_path) / "detection")
        self._kvm = kvm.Detector(self.architecture, cache)
        self._emulators = Emulators(cache)
        self._capabilities = Capabilities(connection, cache, self._kvm.fingerprint)
        self._checks = refusal.Checks(self._emulators, self._capabilities)

    def configured(self) -> Collection[str]:
        """Return the architectures that the driver describes in full without a request."""
        own = {self.architecture} & architecture.TABLE.keys()
        return self._conf.hypervisor.architectures or own

    def ability(self, facts: Architecture, *, thorough: bool = False) -> Ability:
        """Return whether KVM can run guests of one architecture, as the host and libvirt tell.

        :param facts: the architecture.
        :param thorough: also run probes that only add evidence.
        :raises LibvirtUnavailable: if the answer depends on libvirt, and libvirt is not reachable.
        """
        ability = self._kvm.ability(thorough=thorough)
        path = self.find_emulator(facts)
        decided = not ability.proven and self._is_own_user()
        if facts.name not in ability.architectures or path is None or decided:
            return self._settled(ability)
        try:
            self._capabilities.domain(_kind(facts, path, Accelerator.KVM))
        except exceptions.LibvirtError as error:
            reason = f"{ability.reason}, but libvirt does not offer KVM: {error}"
            return ability.without(facts.name, reason, _REMEDY)
        if ability.proven:
            return ability
        reason = f"{ability.reason}; QEMU's user may, since libvirt offers KVM"
        return dataclasses.replace(ability, reason=reason, remedy="")

    def decide(self, guest_architecture: str) -> Decision:
        """Choose the accelerator for a guest.

        :raises AccelerationUnavailable: if the configuration demands KVM and KVM is not usable.
        """
        facts = architecture.get(guest_architecture)
        return self._decide(facts, lambda: self.ability(facts))

    def own_ability(self, *, thorough: bool = False) -> Ability:
        """Return what KVM can run, as this process sees it without libvirt.

        :param thorough: also run probes that only add evidence.
        """
        return self._settled(self._kvm.ability(thorough=thorough))

    def _settled(self, ability: Ability) -> Ability:
        """Return an ability without the architectures that only libvirt could confirm."""
        if ability.proven:
            return ability
        unknown = "" if self._is_own_user() else "; libvirt was not asked whether QEMU's user may"
        return dataclasses.replace(
            ability, architectures=frozenset(), reason=f"{ability.reason}{unknown}"
        )

    def _decide(self, facts: Architecture, look: Callable[[], Ability]) -> Decision:
        options = self._conf.hypervisor
        return acceleration.decide(
            VirtType(options.virt_type),
            facts.name,
            self.architecture,
            look,
            emulation_fallback=options.emulation_fallback,
        )

    def _is_own_user(self) -> bool:
        """Tell whether QEMU runs as the user of this process."""
        uri = self._conf.hypervisor.connection_uri
        return not uri or urlsplit(uri).path == "/session"

    def emulator(self, facts: Architecture) -> str:
        """Return the path of the QEMU program for guests of one architecture.

        :raises MissingDependency: if the host has none; names the package.
        """
        path = self.find_emulator(facts)
        if path is None:
            raise exceptions.MissingDependency(
                f"no emulator for {facts.name} guests: {facts.emulator} is not installed"
                f" (Debian package {facts.package})"
            )
        return path

    def find_emulator(self, facts: Architecture) -> str | None:
        """Return the emulator that libvirt would find; None if the host has none.

        The driver looks by itself, because libvirt starts every emulator to answer.
        """
        names = [f"qemu-system-{facts.name}", facts.emulator]
        names += [NATIVE_EMULATOR] if self.architecture in facts.kvm_hosts else []
        return next(filter(None, map(tools.locate, names)), None)

    def check_machine(self, guest: Guest) -> None:
        """Refuse a machine type that the host's emulator lacks.

        :raises MissingDependency: if the host has no emulator.
        :raises NotOnThisHost: names the nearest machine types.
        """
        self._checks.check_machine(guest, self.emulator(architecture.get(guest.architecture)))

    def check_hardware(self, guest: Guest, hardware: Hardware) -> None:
        """Refuse a CPU, number of CPUs, firmware or screen that the host does not have.

        :raises NotOnThisHost: if the host lacks a part of the hardware; names the nearest.
        :raises MissingDependency: if the host has no emulator, or the emulator cannot serve the
            screen.
        """
        self._checks.check_hardware(guest, hardware, self.emulator(hardware.architecture))

    def architectures(self, asked_for: Collection[str] = ()) -> Iterator[ArchitectureInfo]:
        """Describe all guest architectures that have an emulator or that the caller names.

        :param asked_for: architectures to describe in full, besides the configured ones; the
            emulators of other architectures are not started.
        :raises InvalidParameter: if the table lacks an architecture; names all architectures.
        """
        in_full = {*self.configured(), *(architecture.get(name).name for name in asked_for)}
        for facts in architecture.TABLE.values():
            path = self.find_emulator(facts)
            if path is not None or facts.name in in_full:
                yield self._describe(facts, path, in_full=facts.name in in_full)

    def _describe(
        self, facts: Architecture, path: str | None, *, in_full: bool
    ) -> ArchitectureInfo:
        info = ArchitectureInfo(architecture=facts.name, emulator=path or "", reason="")
        look = (lambda: self.ability(facts)) if in_full else self.own_ability
        try:
            program = self.emulator(facts)
            if in_full:
                info = self._with_machines(info, facts, program)
            try:
                decision = self._decide(facts, look)
                accelerator, reason = decision.accelerator, decision.reason
            except exceptions.AccelerationUnavailable as error:
                accelerator, reason = None, str(error)
            info = dataclasses.replace(info, accelerator=accelerator, reason=reason)
            return self._with_capabilities(info, facts, program) if in_full else info
        except exceptions.HostError as error:
            return dataclasses.replace(info, accelerator=None, reason=str(error))

    def _with_machines(
        self, info: ArchitectureInfo, facts: Architecture, path: str
    ) -> ArchitectureInfo:
        program = self._emulators.describe(path)
        return dataclasses.replace(
            info,
            emulator_version=program.version,
            machines=tuple(
                MachineType(
                    **dataclasses.asdict(machine),
                    default=facts.machine in (machine.name, machine.alias),
                )
                for machine in sorted(program.machines, key=lambda machine: machine.name)
                if facts.knows(machine.name)
            ),
        )

    def _with_capabilities(
        self, info: ArchitectureInfo, facts: Architecture, path: str
    ) -> ArchitectureInfo:
        accelerator = info.accelerator or Accelerator.TCG
        kind = _kind(facts, path, accelerator)
        able = self._capabilities.domain(kind)
        named = capabilities.cpu_models(able)
        lenient = refusal.is_lenient(facts, accelerator)
        return dataclasses.replace(
            info,
            cpu_models=(
                *capabilities.cpu_modes(able),
                *sorted(name for name, whole in named.items() if whole),
            ),
            incomplete_cpu_models=tuple(
                sorted(name for name, whole in named.items() if lenient and not whole)
            ),
            cpu_features=self._features(facts, kind),
            max_vcpus=refusal.max_vcpus(facts.machines[0], able),
            firmware=tuple(_firmware(facts.machines[0], able)),
            absent_devices=tuple(self._checks.devices.absent(facts.machines[0], kind, able)),
        )

    def _features(self, facts: Architecture, kind: Kind) -> tuple[str, ...]:
        defaults = tuning.CpuDefaults.of(self._conf.hypervisor)
        models = tuning.default_models(facts, kind.accelerator, defaults)
        found = {
            feature
            for model in filter(None, models)
            for feature in self._capabilities.features(kind, model)
        }
        if not found:
            return ()
        more, less = tuning.default_features(facts, kind.accelerator, defaults)
        return tuple(sorted({*found, *more} - {*less}))


def _kind(facts: Architecture, emulator: str, accelerator: Accelerator) -> Kind:
    """Return the kind of guests with the default machine of an architecture."""
    return Kind(
        emulator=emulator,
        architecture=facts.name,
        machine=facts.machine,
        accelerator=accelerator,
    )


def _firmware(machine: Machine, able: etree._Element) -> Iterator[str]:
    if Firmware.BIOS in machine.firmwares:
        yield BIOS
    if Firmware.UEFI in machine.firmwares and capabilities.has_uefi(able):
        yield UEFI
        if machine.secure_boot and capabilities.has_secure_boot(able):
            yield UEFI_WITH_SECURE_BOOT
