# SPDX-License-Identifier: Apache-2.0
"""``image prune``: remove cached images that are not in use."""

from __future__ import annotations

import argparse
from typing import Any

from compute_driver.cmd import image_list, verb
from compute_driver.cmd.columns import Lister


class ImagePrune(Lister):
    """Remove the cached images that no guest needs and that were not used for some time; list them.

    The time is option --unused.
    """

    columns = image_list.COLUMNS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--unused",
            type=verb.age,
            metavar="SECONDS",
            help="seconds without use (default: option image_unused_seconds)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        return self.columns, image_list.rows(self.operate(unused=parsed_args.unused))
