# SPDX-License-Identifier: Apache-2.0
"""Verbs that show guests, and ``reboot``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compute_driver.choices import RebootKind
from compute_driver.cmd import verb
from compute_driver.cmd.columns import Lines, Lister, ShowOne
from compute_driver.guest import MIB, Cpu, Disk, Guest, Image, Interface, Topology
from compute_driver.hardware import architecture
from compute_driver.info import GuestInfo, GuestStats

_LIST = ("UUID", "Name", "State", "Architecture", "Accelerator", "VCPUs", "Memory MiB")

_USE = (
    "UUID",
    "Name",
    "State",
    "VCPUs",
    "CPU Seconds",
    "Memory MiB",
    "Resident MiB",
    "Read Bytes",
    "Written Bytes",
    "Received Bytes",
    "Sent Bytes",
)

#: What ``show`` shows of a guest.
SHOWN: Mapping[str, Callable[[GuestInfo], Any]] = {
    "uuid": lambda info: info.guest.uuid,
    "name": lambda info: info.guest.name,
    "state": lambda info: str(info.state),
    "architecture": lambda info: info.guest.architecture,
    "accelerator": lambda info: str(info.accelerator),
    "virtualization": lambda info: info.accelerator.virtualization,
    "reason": lambda info: info.reason,
    "machine": lambda info: info.guest.machine or architecture.get(info.guest.architecture).machine,
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
    "interfaces": lambda info: Lines([_interface(each) for each in info.guest.interfaces]),
    "config_drive": lambda info: info.guest.config_drive is not None,
    "guest_agent": lambda info: info.guest.guest_agent,
    "console": lambda info: info.console,
}


class List(Lister):
    """List all guests of this driver."""

    columns = _LIST

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        return _LIST, [_row(info) for info in self.operate()]


class Show(ShowOne):
    """Show all that is known of a guest."""

    columns = tuple(SHOWN)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Return the table."""
        return self.dict2columns(describe(self.operate(self.find(parsed_args.guest))))


class Stats(Lister):
    """Show the use of resources by one guest or by all."""

    columns = _USE

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser, optional=True)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        guest = None if parsed_args.guest is None else self.find(parsed_args.guest)
        rows = [_use(stats) for stats in self.operate(guest)]
        return _USE, rows


class Reboot(verb.Verb):
    """Reboot a guest; print whether it was done softly or hard in the end."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument(
            "--soft",
            dest="kind",
            action="store_const",
            const=RebootKind.SOFT,
            default=RebootKind.SOFT,
            help="ask the guest, and reboot it hard if it does not answer in time (default)",
        )
        kind.add_argument(
            "--hard",
            dest="kind",
            action="store_const",
            const=RebootKind.HARD,
            help="power off, rebuild the machine from its description, power on",
        )
        parser.add_argument(
            "--timeout",
            type=verb.seconds,
            metavar="SECONDS",
            help="how long the guest may take to answer (default: option soft_reboot_timeout)",
        )
        parser.add_argument(
            "--wait", metavar="TEXT", help="return when the serial console has shown TEXT again"
        )
        parser.add_argument(
            "--wait-timeout",
            type=verb.seconds,
            default=300.0,
            metavar="SECONDS",
            help="how long to wait for that (default: 300)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Reboot it."""
        uuid, text = self.find(parsed_args.guest), parsed_args.wait
        shown = 0 if text is None else len(self.driver.console_log(uuid))
        kind = self.operate(uuid, kind=parsed_args.kind, timeout=parsed_args.timeout)
        self.app.stdout.write(f"{kind}\n")
        if text is not None:
            timeout = parsed_args.wait_timeout
            self.driver.console_wait(uuid, text, timeout=timeout, skip_bytes=shown)


def _row(info: GuestInfo) -> list[Any]:
    guest = info.guest
    return [
        guest.uuid,
        guest.name,
        str(info.state),
        guest.architecture,
        str(info.accelerator),
        guest.vcpus,
        guest.memory_mib,
    ]


def describe(info: GuestInfo) -> dict[str, Any]:
    """Return what ``show`` shows of a guest."""
    return {name: tell(info) for name, tell in SHOWN.items()}


def _cpu(cpu: Cpu) -> str:
    changes = [*(f"+{name}" for name in cpu.enable), *(f"-{name}" for name in cpu.disable)]
    return ",".join([cpu.model or "default", *changes])


def _topology(topology: Topology | None) -> str:
    if topology is None:
        return "default"
    levels = dataclasses.asdict(topology).items()
    return ", ".join(f"{count} {level}" for level, count in levels)


def size(guest: Guest) -> str:
    """Return what can be resized of a guest, in words."""
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


def _use(stats: GuestStats) -> list[Any]:
    return [
        stats.uuid,
        stats.name,
        str(stats.state),
        stats.vcpus,
        round(stats.cpu_time_ns / 1e9, 2),
        stats.memory_bytes // MIB,
        stats.resident_bytes // MIB,
        sum(disk.read_bytes for disk in stats.disks),
        sum(disk.write_bytes for disk in stats.disks),
        _sum([nic.received_bytes for nic in stats.interfaces]),
        _sum([nic.sent_bytes for nic in stats.interfaces]),
    ]


def _sum(counters: Sequence[int | None]) -> int | None:
    """Return the sum of what is counted; None if nothing is of what there is."""
    known = [each for each in counters if each is not None]
    return sum(known) if known or not counters else None
