# SPDX-License-Identifier: Apache-2.0
"""Verbs on a guest's serial console."""

from __future__ import annotations

import argparse
import contextlib
import sys

from compute_driver.cmd import terminal, verb


class ConsoleLog(verb.Verb):
    """Print what a guest wrote on its serial console, over all its boots."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "--bytes", type=_size, metavar="N", help="print only the latest N bytes"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print the bytes as they are."""
        log = self.operate(self.find(parsed_args.guest), max_bytes=parsed_args.bytes)
        self.app.stdout.buffer.write(log)
        self.app.stdout.buffer.flush()


class ConsoleAttach(verb.Verb):
    """Talk to a guest on its serial console; Ctrl-] leaves it.

    Where stdin is no terminal, all of it is sent; the command ends when the guest has written
    nothing for a while after that.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "--grace",
            type=verb.seconds,
            default=1.0,
            metavar="SECONDS",
            help="how long to wait for more output after the end of stdin (default: 1)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Connect the terminal and the console until one of them ends."""
        uuid = self.find(parsed_args.guest)
        with contextlib.closing(self.operate(uuid)) as session:
            source, sink = sys.stdin.fileno(), self.app.stdout.fileno()
            with terminal.raw(source) as typed:
                if typed:
                    self._say(f"connected to {parsed_args.guest}; Ctrl-] leaves")
                grace = None if typed else parsed_args.grace
                terminal.connect(session, source, sink, grace=grace)
        if typed:
            self._say("connection closed")

    def _say(self, text: str) -> None:
        if self.app.options.verbose_level:
            self.app.stderr.write(f"compute-driver: {text}\r\n")
            self.app.stderr.flush()


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not usable; accepted: bytes, 0 or more")
    return int(text)
