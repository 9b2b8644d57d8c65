# SPDX-License-Identifier: Apache-2.0
"""``host check``: check what the host can run."""

from __future__ import annotations

import argparse
from typing import Any

from compute_driver.cmd import errors
from compute_driver.cmd.columns import Report


class HostCheck(Report):
    """Check what this host can run and what it lacks; exit status 1 if it cannot run guests."""

    columns = ("Subject", "Verdict", "Detail", "Remedy")

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        checks = self.operate()
        if any(check.verdict == "failure" for check in checks):
            self.status = errors.FAILED
        rows = [[c.subject, c.verdict, c.detail, c.remedy] for c in checks]
        return self.columns, rows
