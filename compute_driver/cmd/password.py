# SPDX-License-Identifier: Apache-2.0
"""``set password``: a password that no list of processes shows."""

from __future__ import annotations

import argparse
import getpass
import sys

from compute_driver import exceptions
from compute_driver.cmd import verb


class SetPassword(verb.Verb):
    """Give an account inside a guest a password, which is asked for or read from stdin."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument("--user", default="root", help="the account's name (default: root)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Read the password and hand it over."""
        uuid = self.find(parsed_args.guest)
        asked = sys.stdin.isatty()
        password = getpass.getpass() if asked else sys.stdin.readline().rstrip("\n")
        if not password:
            raise exceptions.InvalidParameter("password", None, "a line on standard input")
        self.operate(uuid, password, user=parsed_args.user)
