# SPDX-License-Identifier: Apache-2.0
"""``publish``: let a port of the host lead to a port of a guest."""

from __future__ import annotations

import argparse

from compute_driver.cmd import options, verb
from compute_driver.hardware import properties


class Publish(verb.Verb):
    """Let a port of the host lead to a port of a guest."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument("port", metavar="PORT", help=options.PUBLISHED_HELP)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        with properties.named({"publish": "PORT"}):
            self.operate(uuid, options.published_port("publish", parsed_args.port))
