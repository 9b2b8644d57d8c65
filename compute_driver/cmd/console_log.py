# SPDX-License-Identifier: Apache-2.0
"""``console log``: print the log of a guest's serial console."""

from __future__ import annotations

import argparse

from compute_driver.cmd import verb


class ConsoleLog(verb.Verb):
    """Print the output of a guest's serial console, of all its boots."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "--bytes", type=_size, metavar="N", help="print the latest N bytes only"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        log = self.operate(self.find(parsed_args.guest), max_bytes=parsed_args.bytes)
        self.app.stdout.buffer.write(log)
        self.app.stdout.buffer.flush()


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not usable; accepted: bytes, 0 or more")
    return int(text)
