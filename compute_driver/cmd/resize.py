# SPDX-License-Identifier: Apache-2.0
"""``resize``: give a guest that is there another size."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from compute_driver import exceptions
from compute_driver.cmd import errors, guests, options, verb
from compute_driver.guest import MIB, Disk, Guest

#: The options that say what is to change.
_SIZES = ("vcpus", "memory", "disk", "ephemeral", "swap")


class Resize(verb.Verb):
    """Give a guest another size; what it was is kept until that is confirmed or reverted."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        add = parser.add_argument
        add("--vcpus", type=verb.whole, metavar="N", help="virtual CPUs")
        add("--memory", type=verb.whole, metavar="MIB", help="memory in MiB")
        add("--disk", type=float, metavar="GIB", help="size of the root disk, not less than now")
        add(
            "--ephemeral",
            type=float,
            action="append",
            metavar="GIB",
            help="size of an empty disk, in their order, not less than now; can be repeated",
        )
        add("--swap", type=verb.whole, metavar="MIB", help="size of the disk of swap space; or 0")
        add(
            "--power-on",
            action=argparse.BooleanOptionalAction,
            help="whether it runs in the end (default: as it did before)",
        )
        add(
            "--timeout",
            type=verb.seconds,
            metavar="SECONDS",
            help="how long it may take to shut down (default: option stop_timeout)",
        )
        add("--check-only", action="store_true", help="only find out whether that can be done")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Resize it."""
        uuid = self.find(parsed_args.guest)
        try:
            guest = _resized(self.driver.show(uuid).guest, parsed_args)
        except exceptions.InvalidParameter as error:
            raise errors.UsageError(str(error)) from error
        if parsed_args.check_only:
            self.driver.check_resize(uuid, guest)
        else:
            timeout, power_on = parsed_args.timeout, parsed_args.power_on
            self.operate(uuid, guest, timeout=timeout, power_on=power_on)


def _resized(guest: Guest, words: argparse.Namespace) -> Guest:
    """Return the guest with what the command line asks for."""
    changes: dict[str, Any] = {}
    if words.vcpus not in (None, guest.vcpus):
        # A topology holds for one number of processors.
        changes = {"vcpus": words.vcpus, "cpu": dataclasses.replace(guest.cpu, topology=None)}
    if words.memory is not None:
        changes["memory_mib"] = words.memory
    if words.disk is not None:
        changes["root"] = _disk(guest.root, options.gib("disk", words.disk))
    if words.ephemeral is not None:
        old = [*guest.ephemerals, *[None] * len(words.ephemeral)]
        changes["ephemerals"] = tuple(
            _disk(disk, options.gib("ephemeral", size))
            for disk, size in zip(old, words.ephemeral, strict=False)
        )
    if words.swap is not None:
        changes["swap"] = _disk(guest.swap, words.swap * MIB) if words.swap else None
    if all(getattr(words, option) is None for option in _SIZES):
        raise exceptions.InvalidParameter("size", None, "at least one option for what is to change")
    resized = dataclasses.replace(guest, **changes)
    if resized == guest:
        # The driver takes it: nova resizes so to move a guest to the host where it is.
        raise exceptions.InvalidParameter("size", guests.size(guest), "another one than it has now")
    return resized


def _disk(disk: Disk | None, size: int) -> Disk:
    return dataclasses.replace(disk or Disk(), size_bytes=size)
