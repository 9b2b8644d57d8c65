# SPDX-License-Identifier: Apache-2.0
"""``image cache``: fetch an image into the cache."""

from __future__ import annotations

import argparse

from compute_driver.cmd import options, verb
from compute_driver.hardware import properties


class ImageCache(verb.Verb):
    """Fetch an image into the cache; print whether it was fetched."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("image", metavar="SRC", help="path or URL, as for 'spawn --image'")
        options.add(parser, options.IMAGE)
        parser.add_argument(
            "--boot", action="store_true", help="the image is a kernel or a ramdisk"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        with properties.named({"checksum": "--checksum"}), self.progress() as report:
            image = options.image(parsed_args)
            fetched = self.operate(image, boot=parsed_args.boot, progress=report)
        self.app.stdout.write("fetched\n" if fetched else "in the cache already\n")
