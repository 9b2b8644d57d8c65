# SPDX-License-Identifier: Apache-2.0
"""``console attach``: connect the terminal with a guest's serial console."""

from __future__ import annotations

import argparse
import contextlib
import sys

from compute_driver.cmd import terminal, verb


class ConsoleAttach(verb.Verb):
    """Connect the terminal with a guest's serial console; Ctrl-] disconnects.

    If stdin is not a terminal, the command sends all of stdin, and ends after the guest has written
    nothing for the time of option --grace.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "--grace",
            type=verb.seconds,
            default=1.0,
            metavar="SECONDS",
            help="seconds to wait for more output after the end of stdin (default: 1)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        with contextlib.closing(self.operate(uuid)) as session:
            source, sink = sys.stdin.fileno(), self.app.stdout.fileno()
            with terminal.raw(source) as is_terminal:
                if is_terminal:
                    self._say(f"connected to {parsed_args.guest}; Ctrl-] disconnects")
                grace = None if is_terminal else parsed_args.grace
                terminal.connect(session, source, sink, grace=grace)
        if is_terminal:
            self._say("connection closed")

    def _say(self, text: str) -> None:
        if self.app.options.verbose_level:
            self.app.stderr.write(f"compute-driver: {text}\r\n")
            self.app.stderr.flush()
