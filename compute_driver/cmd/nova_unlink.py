# SPDX-License-Identifier: Apache-2.0
"""``nova unlink``: undo ``nova link``."""

from __future__ import annotations

import argparse

from compute_driver.cmd import verb
from compute_driver.cmd.nova_link import NovaLink


class NovaUnlink(NovaLink):
    """Undo 'nova link'."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from compute_driver.nova import link

        removed = link.unlink(verb.absolute("--python", parsed_args.python))
        self.app.stdout.write(f"removed {removed}\n" if removed else "nova was not linked\n")
