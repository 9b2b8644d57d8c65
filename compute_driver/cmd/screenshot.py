# SPDX-License-Identifier: Apache-2.0
"""``screenshot``: save a picture of a guest's screen."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from compute_driver import exceptions
from compute_driver.cmd import verb


class Screenshot(verb.Verb):
    """Save a picture of a guest's first screen as a PNG file."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument("file", metavar="FILE", help="file to write; - for stdout")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Take the picture and save it."""
        picture = self.operate(self.find(parsed_args.guest))
        if parsed_args.file == "-":
            self.app.stdout.buffer.write(picture)
            return
        path = Path(parsed_args.file)
        try:
            _write(path, picture)
        except OSError as error:
            raise exceptions.ComputeDriverError(
                f"cannot write {str(path)!r}: {error.strerror}"
            ) from error


def _write(path: Path, data: bytes) -> None:
    """Write a file completely or not at all; only its owner can read it: screens show secrets."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
