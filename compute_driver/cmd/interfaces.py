# SPDX-License-Identifier: Apache-2.0
"""``attach interface``: give a guest that is there a further interface."""

from __future__ import annotations

import argparse

from compute_driver import exceptions
from compute_driver.cmd import errors, options, verb
from compute_driver.hardware.properties import Hardware


class Attach(verb.Verb):
    """Give a guest a further network interface, and print its MAC address."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "interface", metavar="SPEC", help="what it is, as spawn --nic takes it, but none"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Attach it."""
        uuid = self.find(parsed_args.guest)
        try:
            interface = options.interface(parsed_args.interface, Hardware())
        except exceptions.InvalidParameter as error:
            raise errors.UsageError(str(error)) from error
        self.operate(uuid, interface)
        self.app.stdout.write(f"{interface.mac}\n")
