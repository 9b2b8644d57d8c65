# SPDX-License-Identifier: Apache-2.0
"""``set password``: hand a password over without showing it in any list of processes."""

from __future__ import annotations

import argparse
import getpass
import sys

from compute_driver import exceptions
from compute_driver.cmd import verb
from compute_driver.hardware import properties


class SetPassword(verb.Verb):
    """Set the password of an account inside a guest; the password is read from stdin.

    On a terminal, the command asks for the password.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument("--user", default="root", help="name of the account (default: root)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        with properties.named({"user": "--user"}):
            self.operate(uuid, _read(), user=parsed_args.user)


def _read() -> str:
    """Return the password; the errors never show it."""
    try:
        terminal = sys.stdin.isatty()
        password = getpass.getpass() if terminal else sys.stdin.readline().rstrip("\n")
    except UnicodeError:
        accepted = "text in the terminal's encoding"
        raise exceptions.InvalidParameter("password", "***", accepted) from None
    if not password:
        raise exceptions.InvalidParameter("password", None, "a line on standard input")
    return password
