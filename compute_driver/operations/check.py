# SPDX-License-Identifier: Apache-2.0
"""The preflight: what this host can run, what it cannot, why, and what to install."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt

from compute_driver import architecture, exceptions, kvm
from compute_driver.acceleration import Accelerator
from compute_driver.guest import GIB
from compute_driver.info import Check
from compute_driver.libvirt import host
from compute_driver.operations.parts import Parts
from compute_driver.storage import tools

OK = "ok"
ABSENT = "absent"
WARNING = "warning"
FAILURE = "failure"

#: Below so much free space a host will soon refuse guests.
_LOW_DISK_BYTES = GIB

#: Programs that only some guests need; without the others there is none.
_DISPENSABLE = frozenset({"mkfs.ext4", "mkswap"})

_FIRMWARE_DESCRIPTORS = Path("/usr/share/qemu/firmware")


def check(parts: Parts) -> tuple[Check, ...]:
    """Look at all that running guests needs; nothing that is found wrong is raised."""
    return tuple(result for look in _LOOKS for result in look(parts))


def _libvirt(parts: Parts) -> Iterator[Check]:
    try:
        version = parts.connection.run(libvirt.virConnect.getLibVersion)
        uri = parts.connection.uri
    except exceptions.ComputeDriverError as error:
        yield Check(
            subject="libvirt",
            verdict=FAILURE,
            detail=str(error),
            remedy="start the daemon of [hypervisor] connection_uri, or unset the option",
        )
        return
    detail = f"version {host.dotted(version)} at {uri}"
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
    ability = kvm.detect(parts.host.architecture)
    wanted = parts.conf.hypervisor.virt_type == "kvm"
    if ability.architectures:
        verdict, remedy = OK, "" if wanted else "set virt_type = kvm to use it"
    elif not wanted:
        verdict, remedy = OK, ""
    else:
        fallback = parts.conf.hypervisor.emulation_fallback
        verdict = WARNING if fallback else FAILURE
        remedy = (
            "enable VT-x or AMD-V in the firmware (or nested virtualisation for a virtual host)"
            " and load kvm_intel or kvm_amd; or set virt_type = qemu"
        )
    yield Check(
        subject="KVM",
        verdict=verdict,
        detail=("usable: " if ability.architectures else "not usable: ") + ability.reason,
        remedy=remedy,
    )


def _architectures(parts: Parts) -> Iterator[Check]:
    available = {info.architecture: info for info in parts.host.architectures()}
    for facts in architecture.TABLE.values():
        subject = f"{facts.name} guests"
        info = available.get(facts.name)
        if info is None:
            native = facts.name == parts.host.architecture
            yield Check(
                subject=subject,
                verdict=FAILURE if native else ABSENT,
                detail=f"cannot be run: {facts.emulator} is not installed",
                remedy=f"install {facts.package}",
            )
        elif info.accelerator not in [str(member) for member in Accelerator]:
            yield Check(subject=subject, verdict=WARNING, detail=f"refused: {info.reason}")
        else:
            detail = f"{info.accelerator} by {info.emulator}: {info.reason}"
            yield Check(subject=subject, verdict=OK, detail=detail)


def _tools(parts: Parts) -> Iterator[Check]:
    for tool, package in tools.PACKAGES.items():
        found = tools.locate(tool)
        if found:
            yield Check(subject=tool, verdict=OK, detail=found)
        else:
            remedy = f"install {package}"
            verdict = WARNING if tool in _DISPENSABLE else FAILURE
            yield Check(subject=tool, verdict=verdict, detail="not installed", remedy=remedy)


def _firmware(parts: Parts) -> Iterator[Check]:
    if any(_FIRMWARE_DESCRIPTORS.glob("*.json")):
        detail = f"described in {_FIRMWARE_DESCRIPTORS}"
        yield Check(subject="UEFI firmware", verdict=OK, detail=detail)
    else:
        yield Check(
            subject="UEFI firmware",
            verdict=WARNING,
            detail="none is installed: guests with firmware uefi are refused",
            remedy="install ovmf (x86_64) or qemu-efi-aarch64",
        )


def _space(parts: Parts) -> Iterator[Check]:
    for option in ("instances_path", "image_cache_path"):
        path = Path(parts.conf.hypervisor[option])
        existing = host.nearest(path)
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


_LOOKS: tuple[Callable[[Parts], Iterator[Check]], ...] = (
    _libvirt,
    _confinement,
    _acceleration,
    _architectures,
    _tools,
    _firmware,
    _space,
)
