# SPDX-License-Identifier: Apache-2.0
"""``nova link``: let a nova in another environment load this driver."""

from __future__ import annotations

import argparse

from compute_driver.cmd import verb


class NovaLink(verb.Verb):
    """Let a nova in another Python environment load this driver, by one file there."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--python",
            type=verb.path,
            metavar="PATH",
            required=True,
            help="interpreter of nova's environment, such as /opt/nova/bin/python",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from compute_driver.nova import link

        file = link.link(verb.absolute("--python", parsed_args.python))
        self.app.stdout.write(
            f"{file}\n"
            "to use it, set in nova.conf: [DEFAULT] compute_driver = compute_driver.NovaDriver\n"
        )
