# SPDX-License-Identifier: Apache-2.0
"""``resize``: give a guest another size."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from compute_driver import exceptions
from compute_driver.cmd import options, show, verb
from compute_driver.cmd.options import Option, switch
from compute_driver.guest import Disk, Guest, is_name, unusable_name

_SIZES = (
    Option("--vcpus", "virtual CPUs", "N", verb.whole),
    Option("--memory", "memory in MiB", "MIB", verb.whole),
    Option("--disk", "size of the root disk, not less than now", "GIB", verb.number),
    Option(
        "--ephemeral",
        "size of an ephemeral disk, in the disks' order, not less than now; can be repeated",
        "GIB",
        verb.number,
        {"action": "append"},
    ),
    Option("--swap", "size of the swap disk; 0 removes the disk", "MIB", verb.whole),
)

_MANNER = (
    switch("--power-on", "whether the guest runs in the end (default: as before)"),
    options.STOP_TIMEOUT,
    Option(
        "--check-only",
        "only check whether the resize is possible",
        settings={"action": "store_true"},
    ),
)


class Resize(verb.Verb):
    """Give a guest another size; the old size is kept until the resize is confirmed or reverted."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        options.add(parser, (*_SIZES, *_MANNER))
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        present = self.driver.show(uuid).guest
        if not is_name(present.name):
            raise unusable_name(present)
        with options.named():
            guest = _resized(present, parsed_args)
            if parsed_args.check_only:
                self.driver.check_resize(uuid, guest)
            else:
                timeout, power_on = parsed_args.timeout, parsed_args.power_on
                self.operate(uuid, guest, timeout=timeout, power_on=power_on)


def _resized(guest: Guest, words: argparse.Namespace) -> Guest:
    """Return the guest with the sizes of the command line."""
    if all(getattr(words, option.name) is None for option in _SIZES):
        flags = ", ".join(option.flag for option in _SIZES)
        raise exceptions.InvalidParameter("size", None, f"at least one of {flags}")
    changes: dict[str, Any] = {}
    if words.vcpus not in (None, guest.vcpus):
        # A topology fits one number of processors only.
        changes = {"vcpus": words.vcpus, "cpu": dataclasses.replace(guest.cpu, topology=None)}
    if words.memory is not None:
        changes["memory_mib"] = words.memory
    if words.disk is not None:
        size_bytes = options.gib("--disk", words.disk)
        if not size_bytes:  # which means the image's size to drivers
            raise exceptions.InvalidParameter("--disk", words.disk, "a size in GiB above 0")
        changes["root"] = _disk(guest.root, size_bytes)
    if words.ephemeral is not None:
        present = [*guest.ephemerals, *[None] * len(words.ephemeral)]
        changes["ephemerals"] = tuple(
            _disk(disk, options.gib("--ephemeral", size))
            for disk, size in zip(present, words.ephemeral, strict=False)
        )
    if words.swap is not None:
        size_bytes = options.mib("--swap", words.swap)
        changes["swap"] = _disk(guest.swap, size_bytes) if size_bytes else None
    wanted = dataclasses.replace(guest, **changes)
    if wanted == guest:
        # The driver accepts the present size: nova resizes so to move a guest to its own host.
        raise exceptions.InvalidParameter("size", show.size(guest), "another size than now")
    return wanted


def _disk(present: Disk | None, size_bytes: int) -> Disk:
    """Return the disk with another size; a new disk in place of None."""
    return dataclasses.replace(present or Disk(), size_bytes=size_bytes)
