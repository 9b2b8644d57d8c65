# SPDX-License-Identifier: Apache-2.0
"""Verbs that show the state of the host."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from cliff import lister, show

from compute_driver.cmd import errors, verb
from compute_driver.cmd.columns import Lines
from compute_driver.guest import MIB

#: Fields of HostInfo that hold bytes, shown in MiB.
_BYTES = "_bytes"


class HostShow(show.ShowOne, verb.Verb):
    """Show what the host has, and what guests of each architecture would get."""

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Return the table."""
        host = self.operate()
        rows: dict[str, Any] = {}
        for field in dataclasses.fields(host):
            value = getattr(host, field.name)
            if field.name.endswith(_BYTES):
                rows[field.name.removesuffix(_BYTES) + "_mib"] = value // MIB
            elif field.name != "architectures":
                rows[field.name] = value
        rows["architectures"] = Lines(
            [f"{a.architecture}: {a.accelerator} ({a.reason})" for a in host.architectures]
        )
        return self.dict2columns(rows)


class _Report(lister.Lister, verb.Verb):
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

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        checks = self.operate()
        if any(check.verdict == "failure" for check in checks):
            self.status = errors.FAILED
        rows = [[c.subject, c.verdict, c.detail, c.remedy] for c in checks]
        return ("Subject", "Verdict", "Detail", "Remedy"), rows


class Audit(_Report):
    """List what no guest owns and what guests lack; exit status 1 if any of it remains."""

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
        return ("Kind", "Subject", "Detail", "Repaired"), rows
