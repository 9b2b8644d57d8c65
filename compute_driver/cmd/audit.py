# SPDX-License-Identifier: Apache-2.0
"""``audit``: list resources without a guest, and faults of guests."""

from __future__ import annotations

import argparse
from typing import Any

from compute_driver.cmd import errors
from compute_driver.cmd.columns import Report


class Audit(Report):
    """List resources without a guest and faults of guests; exit status 1 if anything remains."""

    columns = ("Kind", "Subject", "Detail", "Repaired")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--repair",
            action="store_true",
            help="remove resources without a guest, define the domains of running guests again,"
            " restore the metadata of guests, and correct the modes of directories; all other"
            " findings are only listed",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        findings = self.operate(repair=parsed_args.repair)
        if not all(finding.repaired for finding in findings):
            self.status = errors.FAILED
        rows = [[f.kind, f.subject, f.detail, f.repaired] for f in findings]
        return self.columns, rows
