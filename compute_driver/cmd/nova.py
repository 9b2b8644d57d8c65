# SPDX-License-Identifier: Apache-2.0
"""``nova link`` and ``nova unlink``: a nova in another environment."""

from __future__ import annotations

import argparse

from compute_driver.cmd import verb


class _Verb(verb.Verb):
    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser: where nova is."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--python",
            metavar="PATH",
            required=True,
            help="the interpreter of nova's environment, such as /opt/nova/bin/python",
        )
        return parser


class Link(_Verb):
    """Let a nova that is installed elsewhere load this driver, by one file in its environment."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Write the file and say what to configure."""
        from compute_driver.nova import link

        self.app.stdout.write(
            f"{link.link(parsed_args.python)}\n"
            "to use it, set in nova.conf: [DEFAULT] compute_driver = compute_driver.NovaDriver\n"
        )


class Unlink(_Verb):
    """Take back what 'nova link' did."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Remove the file."""
        from compute_driver.nova import link

        removed = link.unlink(parsed_args.python)
        self.app.stdout.write(f"{f'removed {removed}' if removed else 'it was not linked'}\n")
