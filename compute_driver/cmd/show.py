# SPDX-License-Identifier: Apache-2.0
"""``show``: show a guest."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from compute_driver.cmd import verb
from compute_driver.cmd.columns import Lines, ShowOne
from compute_driver.guest import MIB, Cpu, Disk, Guest, Image, Interface, Topology
from compute_driver.hardware import architecture
from compute_driver.info import GuestInfo

#: The fields that ``show`` shows of a guest, and the value of each field.
SHOWN: Mapping[str, Callable[[GuestInfo], Any]] = {
    "uuid": lambda info: info.guest.uuid,
    "name": lambda info: info.guest.name,
    "state": lambda info: str(info.state),
    "state_reason": lambda info: info.state_reason,
    "architecture": lambda info: info.guest.architecture,
    "accelerator": lambda info: str(info.accelerator),
    "virtualization": lambda info: info.accelerator.virtualization,
    "reason": lambda info: info.reason,
    "machine": lambda info: architecture.machine_type(info.guest),
    "cpu": lambda info: info.cpu or _cpu(info.guest.cpu),
    "topology": lambda info: _topology(info.guest.cpu.topology),
    "vcpus": lambda info: info.guest.vcpus,
    "memory_mib": lambda info: info.guest.memory_mib,
    "memory_overhead_mib": lambda info: info.overhead_mib,
    "before_resize": lambda info: "" if info.before is None else size(info.before),
    "firmware": lambda info: str(info.guest.firmware or "default"),
    "secure_boot": lambda info: info.guest.secure_boot,
    "video": lambda info: str(info.guest.video or "default"),
    "input": lambda info: str(info.guest.input or "default"),
    "virtio": lambda info: str(info.guest.virtio),
    "rng": lambda info: info.guest.rng,
    "balloon": lambda info: info.guest.balloon,
    "image": lambda info: _image(info.guest.image),
    "kernel": lambda info: _image(info.guest.boot.kernel if info.guest.boot else None),
    "cmdline": lambda info: info.guest.boot.cmdline if info.guest.boot else "",
    "rescue": lambda info: _image(info.guest.rescue.image if info.guest.rescue else None),
    "disks": lambda info: Lines(_disks(info.guest)),
    "interfaces": lambda info: Lines([_interface(nic) for nic in info.guest.interfaces]),
    "addresses": lambda info: Lines([address.address for address in info.guest.addresses]),
    "published": lambda info: Lines([str(port) for port in info.guest.published]),
    "config_drive": lambda info: info.guest.config_drive is not None,
    "guest_agent": lambda info: info.guest.guest_agent,
    "console": lambda info: info.console,
}


class Show(ShowOne):
    """Show everything that is known of a guest."""

    columns = tuple(SHOWN)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        return self.dict2columns(describe(self.operate(self.find(parsed_args.guest))))


def describe(info: GuestInfo) -> dict[str, Any]:
    """Return the fields that ``show`` shows of a guest."""
    return {name: value(info) for name, value in SHOWN.items()}


def _cpu(cpu: Cpu) -> str:
    changes = [*(f"+{name}" for name in cpu.enable), *(f"-{name}" for name in cpu.disable)]
    return ",".join([cpu.model or "default", *changes])


def _topology(topology: Topology | None) -> str:
    if topology is None:
        return "default"
    levels = dataclasses.asdict(topology).items()
    return ", ".join(f"{count} {level}" for level, count in levels)


def size(guest: Guest) -> str:
    """Return the sizes of a guest, in words."""
    return "; ".join([f"{guest.vcpus} vcpus", f"{guest.memory_mib} MiB", *_disks(guest)])


def _image(image: Image | None) -> str:
    return "" if image is None else image.location


def _disks(guest: Guest) -> list[str]:
    disks = [("root", guest.root), *(("ephemeral", disk) for disk in guest.ephemerals)]
    return [_disk(role, disk) for role, disk in [*disks, ("swap", guest.swap)] if disk is not None]


def _disk(role: str, disk: Disk) -> str:
    size = f"{disk.size_bytes // MIB} MiB" if disk.size_bytes else "size of the image"
    return f"{role}: {size}, bus {disk.bus or 'default'}"


def _interface(nic: Interface) -> str:
    kind = f"{nic.kind}={nic.source}" if nic.source else str(nic.kind)
    return f"{kind},model={nic.model or 'default'},mac={nic.mac}"
