# SPDX-License-Identifier: Apache-2.0
"""``attach interface``: add a network interface to a guest."""

from __future__ import annotations

import argparse

from compute_driver.cmd import options, verb
from compute_driver.hardware import properties
from compute_driver.hardware.properties import Wishes


class AttachInterface(verb.Verb):
    """Add a network interface to a guest, and print its MAC address."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "nic",
            metavar="SPEC",
            help="description of the interface, as for 'spawn --nic', without addresses",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        interface = options.interface(parsed_args.nic, Wishes())
        with properties.named({"nic": "SPEC"}):
            self.operate(uuid, interface)
        self.app.stdout.write(f"{interface.mac}\n")
