# SPDX-License-Identifier: Apache-2.0
"""``config validate``: what is wrong with the configuration."""

from __future__ import annotations

import argparse

from compute_driver import conf
from compute_driver.cmd import errors, verb


class Validate(verb.Verb):
    """Check the configuration for unknown options and bad values; exit status 2 if it has any."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print what is wrong."""
        problems = conf.problems(self.app.options.config_file, self.app.options.config_dir)
        for line in problems or ["the configuration is valid"]:
            self.app.stdout.write(f"{line}\n")
        return errors.BAD_USAGE if problems else 0
