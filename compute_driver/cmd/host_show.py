# SPDX-License-Identifier: Apache-2.0
"""``host show``: describe the host and what its guests get."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from cliff.columns import FormattableColumn

from compute_driver.cmd.columns import ShowOne
from compute_driver.guest import MIB
from compute_driver.info import ArchitectureInfo, HostInfo, MachineType

#: End of the names of HostInfo's fields in bytes, which are shown in MiB.
_BYTES = "_bytes"

_FIELDS = dataclasses.fields(HostInfo)

#: Width of a paragraph beside the names of the fields, on a screen of 100 columns.
_WIDTH = 78

_KINDS = ("accelerator", "virtualization")


class Architectures(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """The architectures of guests: a paragraph for each on a screen, a list for programs."""

    def human_readable(self) -> str:
        """Return the paragraphs."""
        return "\n".join(line for info in self._value for line in self._lines(info))

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of objects."""
        return [
            {**dataclasses.asdict(info), **dict(zip(_KINDS, _kind(info), strict=True))}
            for info in self._value
        ]

    def _lines(self, info: ArchitectureInfo) -> Iterator[str]:
        kind = ", ".join(filter(None, _kind(info)))
        yield _fill(f"{info.architecture}: {kind} ({info.reason})", "")
        yield f"  emulator: {info.emulator or 'none'} {info.emulator_version}".rstrip()
        machines = [
            _named(machine)
            for machine in info.machines
            # Of machine types with versions, show the newest.
            if machine.default or machine.alias or not machine.name[-1].isdigit()
        ]
        lists = {
            "machines": [*machines, _more(len(info.machines) - len(machines))],
            "CPU models": info.cpu_models,
            "CPU models without some features": info.incomplete_cpu_models,
            "firmware": info.firmware or (),
            "absent devices": info.absent_devices,
        }
        for name, values in lists.items():
            text = ", ".join(filter(None, values))
            if text:
                yield _fill(f"{name}: {text}", "  ")


def _named(machine: MachineType) -> str:
    words = [*([machine.alias] if machine.alias else []), *(["default"] if machine.default else [])]
    return f"{machine.name} ({', '.join(words)})" if words else machine.name


def _kind(info: ArchitectureInfo) -> tuple[str, str]:
    """Return the accelerator and the kind of virtualisation."""
    if info.accelerator is None:
        return "none", ""
    return info.accelerator.value, info.accelerator.virtualization


def _fill(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _more(count: int) -> str:
    return f"and {count} more" if count else ""


class HostShow(ShowOne):
    """Show the host's resources, and what guests of each architecture get.

    The command shows in full the architectures of option [hypervisor] architectures (by default the
    host's own architecture) and the architectures of --arch.
    """

    columns = tuple(field.name.replace(_BYTES, "_mib") for field in _FIELDS)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--arch",
            action="append",
            default=[],
            metavar="ARCHITECTURE",
            help="show this architecture in full, too; can be repeated",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        host = self.operate(architectures=parsed_args.arch)
        return self.columns, [_value(field.name, getattr(host, field.name)) for field in _FIELDS]


def _value(field: str, value: Any) -> Any:
    if field == "architectures":
        return Architectures(value)
    return value // MIB if field.endswith(_BYTES) else value
