# SPDX-License-Identifier: Apache-2.0
"""``reboot``: reboot a guest, and wait for the end of its boot."""

from __future__ import annotations

import argparse

from compute_driver.choices import RebootKind
from compute_driver.cmd import verb


class Reboot(verb.Verb):
    """Reboot a guest; print the kind of the reboot, soft or hard."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument(
            "--soft",
            dest="kind",
            action="store_const",
            const=RebootKind.SOFT,
            default=RebootKind.SOFT,
            help="ask the guest to reboot; make a hard reboot after the timeout (default)",
        )
        kind.add_argument(
            "--hard",
            dest="kind",
            action="store_const",
            const=RebootKind.HARD,
            help="power the guest off, build its machine anew, power the guest on",
        )
        parser.add_argument(
            "--timeout",
            type=verb.seconds,
            metavar="SECONDS",
            help="seconds that a soft reboot may take (default: option soft_reboot_timeout)",
        )
        parser.add_argument(
            "--wait",
            type=verb.words,
            metavar="TEXT",
            help="return when the serial console has shown TEXT again",
        )
        parser.add_argument(
            "--wait-timeout",
            type=verb.seconds,
            metavar="SECONDS",
            help=f"seconds to wait for TEXT (default: {verb.CONSOLE_SECONDS:g})",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid, text = self.find(parsed_args.guest), parsed_args.wait
        seconds = verb.console_seconds("--wait-timeout", parsed_args.wait_timeout, text)
        skip_bytes = 0 if text is None else len(self.driver.console_log(uuid))
        kind = self.operate(uuid, kind=parsed_args.kind, timeout=parsed_args.timeout)
        self.app.stdout.write(f"{kind}\n")
        if text is not None:
            self.driver.console_wait(uuid, text, timeout=seconds, skip_bytes=skip_bytes)
