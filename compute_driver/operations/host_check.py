# SPDX-License-Identifier: Apache-2.0
"""The preflight: the guests that this host can run, and remedies for those that it cannot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import Firmware
from compute_driver.guest import GIB
from compute_driver.hardware import architecture
from compute_driver.host.facts import dotted
from compute_driver.info import ArchitectureInfo, Check
from compute_driver.libvirt import connection
from compute_driver.libvirt.embedded import leftovers
from compute_driver.operations.base.context import Parts
from compute_driver.system import tools
from compute_driver.system.filesystem import existing_parent

OK = "ok"
ABSENT = "absent"
WARNING = "warning"
FAILURE = "failure"

#: A host with less free space than this will soon refuse guests, in bytes.
_LOW_DISK_BYTES = GIB


def host_check(parts: Parts) -> tuple[Check, ...]:
    """Look at everything that running guests needs; a fault is a result, and never raised."""
    return tuple(result for look in _LOOKS for result in look(parts))


def _libvirt(parts: Parts) -> Iterator[Check]:
    try:
        version = parts.connection.run(connection.version)
        uri = parts.connection.uri
    except exceptions.ComputeDriverError as error:
        yield Check(
            subject="libvirt",
            verdict=FAILURE,
            detail=str(error),
            remedy="start the daemon of [hypervisor] connection_uri, or unset the option",
        )
        return
    detail = f"version {dotted(version)} at {uri}"
    yield Check(subject="libvirt", verdict=OK, detail=detail)


def _confinement(parts: Parts) -> Iterator[Check]:
    if os.geteuid() == 0 and not parts.conf.hypervisor.connection_uri:
        yield Check(
            subject="confinement",
            verdict=WARNING,
            detail="the driver's own libvirt daemon runs QEMU as root, unconfined: it is for"
            " trying things out",
            remedy="in production, set [hypervisor] connection_uri = qemu:///system",
        )


def _acceleration(parts: Parts) -> Iterator[Check]:
    detection = parts.host.detection
    name = detection.architecture
    ability = detection.own_ability(thorough=True)
    if name in architecture.TABLE:
        with contextlib.suppress(exceptions.LibvirtUnavailable):
            ability = detection.ability(architecture.TABLE[name], thorough=True)
    wanted = parts.conf.hypervisor.virt_type == "kvm"
    unusable = f"no usable KVM: {ability.why_not(name)}"
    if name in ability.architectures:
        verdict, detail = OK, f"usable: {ability.reason}"
        remedy = "" if wanted else "set virt_type = kvm to use it"
    elif not wanted:
        verdict, detail, remedy = OK, f"not asked for (virt_type is qemu); {unusable}", ""
    else:
        fallback = parts.conf.hypervisor.emulation_fallback
        verdict, detail = WARNING if fallback else FAILURE, unusable
        remedy = f"{ability.remedy}; or set virt_type = qemu"
        remedy += "" if fallback else " or emulation_fallback = true"
    yield Check(subject="KVM", verdict=verdict, detail=detail, remedy=remedy)


def _architectures(parts: Parts) -> Iterator[Check]:
    needed = parts.host.detection.configured()
    available = {info.architecture: info for info in parts.host.detection.architectures()}
    for facts in architecture.TABLE.values():
        poor = FAILURE if facts.name in needed else WARNING
        subject = f"{facts.name} guests"
        info = available.get(facts.name)
        if info is None or not info.emulator:
            yield Check(
                subject=subject,
                verdict=FAILURE if facts.name in needed else ABSENT,
                detail=f"cannot be run: {facts.emulator} is not installed",
                remedy=f"install {facts.package}",
            )
            continue
        if info.accelerator is None:
            # An emulator that does not answer has no known version.
            broken = facts.name in needed and not info.emulator_version
            yield Check(
                subject=subject,
                verdict=poor,
                detail=f"refused: {info.reason}",
                remedy=f"reinstall {facts.package}" if broken else "see libvirt and KVM above",
            )
        else:
            kind = f"{info.accelerator} ({info.accelerator.virtualization})"
            program = f"{info.emulator} {info.emulator_version}".strip()
            detail = f"{kind} by {program}: {info.reason}"
            yield Check(subject=subject, verdict=OK, detail=detail)
        yield from _firmware(facts, info)


def _firmware(facts: architecture.Architecture, info: ArchitectureInfo) -> Iterator[Check]:
    if info.firmware is not None and Firmware.UEFI in facts.machines[0].firmwares:
        present = [name for name in info.firmware if name.startswith("uefi")]
        yield Check(
            subject=f"UEFI firmware for {facts.name}",
            verdict=OK if present else WARNING,
            detail=", ".join(present) or "none: guests with firmware uefi are refused",
            remedy="" if present else f"install {facts.firmware_package}",
        )


def _tools(parts: Parts) -> Iterator[Check]:
    for name, program in tools.PROGRAMS.items():
        path = tools.locate(name)
        if path:
            yield Check(subject=name, verdict=OK, detail=path)
        else:
            purpose = program.purpose
            yield Check(
                subject=name,
                verdict=WARNING if purpose else FAILURE,
                detail=f"not installed: needed by {purpose or 'every guest'}",
                remedy=f"install {program.package}",
            )


def _space(parts: Parts) -> Iterator[Check]:
    for option in ("instances_path", "image_cache_path"):
        path = Path(parts.conf.hypervisor[option])
        existing = existing_parent(path)
        space = os.statvfs(existing)
        free = space.f_bavail * space.f_frsize
        subject = f"{option} {path}"
        if not os.access(existing, os.W_OK | os.X_OK):
            yield Check(
                subject=subject,
                verdict=FAILURE,
                detail=f"{existing} is not writable",
                remedy=f"set [hypervisor] {option} to a directory that is",
            )
        else:
            low = free < _LOW_DISK_BYTES
            yield Check(
                subject=subject,
                verdict=WARNING if low else OK,
                detail=f"{free / GIB:.1f} GiB free",
                remedy="make room" if low else "",
            )


def _directories(_parts: Parts) -> Iterator[Check]:
    for left in leftovers.find_left_directories():
        yield Check(
            subject=str(left.path),
            verdict=WARNING,
            detail=left.detail,
            remedy="run 'compute-driver audit --repair' as root",
        )


_LOOKS: tuple[Callable[[Parts], Iterator[Check]], ...] = (
    _libvirt,
    _confinement,
    _acceleration,
    _architectures,
    _tools,
    _space,
    _directories,
)
