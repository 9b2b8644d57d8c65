# SPDX-License-Identifier: Apache-2.0
"""``config validate``: report the faults of the configuration."""

from __future__ import annotations

import argparse

from compute_driver import conf
from compute_driver.cmd import errors, verb


class ConfigValidate(verb.Verb):
    """Check the configuration for unknown options and bad values; exit status 2 if it has any."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        faults = conf.problems(self.app.options.config_file, self.app.options.config_dir)
        for line in faults or ["the configuration is valid"]:
            self.app.stdout.write(f"{line}\n")
        return errors.BAD_USAGE if faults else 0
