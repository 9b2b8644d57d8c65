# SPDX-License-Identifier: Apache-2.0
"""``image list``: list the cached images."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterable
from typing import Any

from compute_driver.cmd.columns import Lines, Lister
from compute_driver.guest import MIB
from compute_driver.info import CacheEntry

COLUMNS = ("Source", "Format", "MiB", "Used", "Guests", "Path")


class ImageList(Lister):
    """List the cached images, with the guests that need them."""

    columns = COLUMNS

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Any]]:
        return COLUMNS, rows(self.operate())


def rows(entries: Iterable[CacheEntry]) -> list[Any]:
    """Return a row of the table for each cached image."""
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
