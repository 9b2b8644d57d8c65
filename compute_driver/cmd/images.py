# SPDX-License-Identifier: Apache-2.0
"""Verbs on the cache of images."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterable
from typing import Any

from compute_driver import exceptions
from compute_driver.cmd import errors, options, progress, verb
from compute_driver.cmd.columns import Lines, Lister
from compute_driver.guest import MIB
from compute_driver.info import CacheEntry

_COLUMNS = ("Source", "Format", "MiB", "Used", "Guests", "Path")


class List(Lister):
    """List the images that are kept for guests to come, and who needs them."""

    columns = _COLUMNS

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        return _COLUMNS, _rows(self.operate())


class Cache(verb.Verb):
    """Fetch an image for guests to come; print whether it had to be fetched."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add("image", metavar="SRC", help="path or URL, as 'spawn' will be given it")
        add("--image-format", metavar="F", help="what the image must be: qcow2, raw, iso...")
        add("--checksum", metavar="ALG:HEX", help="checksum that the image must have")
        add("--boot", action="store_true", help="whether it is a kernel or a ramdisk")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Fetch it."""
        try:
            image = options.image(parsed_args)
        except exceptions.InvalidParameter as error:
            raise errors.UsageError(str(error)) from error
        with progress.shown(self.app.options.verbose_level > 0) as report:
            fetched = self.operate(image, boot=parsed_args.boot, progress=report)
        self.app.stdout.write("fetched\n" if fetched else "it was there\n")


class Prune(Lister):
    """Remove the images that no guest needs and that none has for some time; list them."""

    columns = _COLUMNS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--unused",
            type=verb.seconds,
            metavar="SECONDS",
            help="how long (default: option image_unused_seconds)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        """Return the table."""
        return _COLUMNS, _rows(self.operate(unused=parsed_args.unused))


def _rows(entries: Iterable[CacheEntry]) -> list[Any]:
    return [
        [
            entry.source,
            str(entry.format),
            round(entry.size_bytes / MIB),
            datetime.datetime.fromtimestamp(entry.used_at).astimezone().isoformat(" ", "seconds"),
            Lines(entry.guests),
            entry.path,
        ]
        for entry in entries
    ]
