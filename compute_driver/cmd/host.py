# SPDX-License-Identifier: Apache-2.0
"""Verbs that show the state of the host."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from cliff.columns import FormattableColumn

from compute_driver.cmd import errors
from compute_driver.cmd.columns import Lister, ShowOne
from compute_driver.guest import MIB
from compute_driver.info import ArchitectureInfo, HostInfo, MachineType

#: Fields of HostInfo that hold bytes, shown in MiB.
_BYTES = "_bytes"

_FIELDS = dataclasses.fields(HostInfo)

#: Columns that a paragraph takes, beside the names of fields on a screen of 100.
_WIDTH = 78


_KINDS = ("accelerator", "virtualization")


class Architectures(FormattableColumn):  # type: ignore[misc,type-arg,unused-ignore]
    """What guests of each architecture would get: a paragraph each, or a list for programs."""

    def human_readable(self) -> str:
        """Return the paragraphs."""
        return "\n".join(line for each in self._value for line in self._lines(each))

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return a list of objects."""
        return [
            {**dataclasses.asdict(each), **dict(zip(_KINDS, _kind(each), strict=True))}
            for each in self._value
        ]

    def _lines(self, each: ArchitectureInfo) -> Iterator[str]:
        kind = ", ".join(filter(None, _kind(each)))
        yield _fill(f"{each.architecture}: {kind} ({each.reason})", "")
        yield f"  emulator: {each.emulator or 'none'} {each.emulator_version}".rstrip()
        machines = [
            _named(machine)
            for machine in each.machines
            # Of those with a version, the newest.
            if machine.default or machine.alias or not machine.name[-1].isdigit()
        ]
        lists = {
            "machines": [*machines, _more(len(each.machines) - len(machines))],
            "CPU models": each.cpu_models,
            "CPU models without some features": each.incomplete_cpu_models,
            "firmware": each.firmware or (),
        }
        for name, values in lists.items():
            text = ", ".join(filter(None, values))
            if text:
                yield _fill(f"{name}: {text}", "  ")


def _named(machine: MachineType) -> str:
    words = [*([machine.alias] if machine.alias else []), *(["default"] if machine.default else [])]
    return f"{machine.name} ({', '.join(words)})" if words else machine.name


def _kind(each: ArchitectureInfo) -> tuple[str, str]:
    """Return the accelerator and the kind of virtualisation."""
    if each.accelerator is None:
        return "none", ""
    return each.accelerator.value, each.accelerator.virtualization


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
    """Show what the host has, and what guests of each architecture would get.

    The architectures of option [hypervisor] architectures (the host's own, if it is not set) and
    those of --arch are shown in full.
    """

    columns = tuple(field.name.replace(_BYTES, "_mib") for field in _FIELDS)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--arch",
            action="append",
            default=[],
            metavar="ARCHITECTURE",
            help="show this architecture in full, too; may be given several times",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Return the table."""
        host = self.operate(architectures=parsed_args.arch)
        return self.columns, [_value(field.name, getattr(host, field.name)) for field in _FIELDS]


def _value(field: str, value: Any) -> Any:
    if field == "architectures":
        return Architectures(value)
    return value // MIB if field.endswith(_BYTES) else value


class _Report(Lister):
    """A list whose rows decide on the exit status."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show the list.

        :return: the exit status.
        """
        super().run(parsed_args)
        return self.status


class HostCheck(_Report):
    """Check what this host can run and what it lacks; exit status 1 if it cannot run guests."""

    columns = ("Subject", "Verdict", "Detail", "Remedy")

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        checks = self.operate()
        if any(check.verdict == "failure" for check in checks):
            self.status = errors.FAILED
        rows = [[c.subject, c.verdict, c.detail, c.remedy] for c in checks]
        return self.columns, rows


class Audit(_Report):
    """List what no guest owns and what guests lack; exit status 1 if any of it remains."""

    columns = ("Kind", "Subject", "Detail", "Repaired")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--repair",
            action="store_true",
            help="remove what no guest owns; what a guest lacks is only listed",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        findings = self.operate(repair=parsed_args.repair)
        if not all(finding.repaired for finding in findings):
            self.status = errors.FAILED
        rows = [[f.kind, f.subject, f.detail, f.repaired] for f in findings]
        return self.columns, rows
