# SPDX-License-Identifier: Apache-2.0
"""``screenshot``: save a picture of a guest's screen."""

from __future__ import annotations

import argparse
from pathlib import Path

from compute_driver import exceptions
from compute_driver.cmd import verb
from compute_driver.system import files


class Screenshot(verb.Verb):
    """Save a picture of a guest's first screen as a PNG file."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "file", type=verb.path, metavar="FILE", help="new file to write; - for stdout"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        picture = self.operate(self.find(parsed_args.guest))
        if parsed_args.file == "-":
            self.app.stdout.buffer.write(picture)
            return
        # Only its owner may read the file: screens show secrets.
        target = Path(verb.absolute("FILE", parsed_args.file))
        try:
            with files.new_file(target, replace=False) as path:
                path.write_bytes(picture)
        except files.Taken as error:
            accepted = "a path where nothing exists, or - for stdout"
            raise exceptions.InvalidParameter("FILE", parsed_args.file, accepted) from error
