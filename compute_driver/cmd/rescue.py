# SPDX-License-Identifier: Apache-2.0
"""``rescue``: boot another system on a guest's machine."""

from __future__ import annotations

import argparse

from compute_driver import exceptions, guest
from compute_driver.choices import DiskBus
from compute_driver.cmd import errors, options, verb
from compute_driver.cmd.options import Option, switch

_IMAGE = Option("--image", "path or URL of a disk or ISO image", "SRC", settings={"required": True})

_DISK = (
    Option(
        "--last",
        "attach the rescue disk after the guest's disks, which keep their places"
        " (default: before them)",
        settings={"action": "store_true"},
    ),
    Option(
        "--disk-bus",
        f"bus of the rescue disk: {options.listed(DiskBus)} (default: the bus of the root disk or"
        " of the CD-ROM drives)",
        "BUS",
    ),
    Option(
        "--floppy",
        "attach the rescue disk as a floppy disk, of at most 2.88 MB",
        settings={"action": "store_true"},
    ),
    switch("--cdrom", "whether the image is in a CD-ROM drive (default: if it is an ISO image)"),
)


class Rescue(verb.Verb):
    """Shut a guest down and boot another system on its machine, with its disks attached."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        rows = (_IMAGE, *options.IMAGE, *options.KERNEL, *_DISK, options.STOP_TIMEOUT)
        options.add(parser, rows)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        uuid = self.find(parsed_args.guest)
        with options.named(), self.progress() as report:
            rescue = _rescue(parsed_args)
            self.operate(uuid, rescue, timeout=parsed_args.timeout, progress=report)


def _rescue(words: argparse.Namespace) -> guest.Rescue:
    image, bus = options.image(words), words.disk_bus
    assert image is not None
    if words.floppy and bus is not None:
        raise exceptions.InvalidParameter("--disk-bus", bus, "nothing with --floppy")
    if words.floppy and words.cdrom is not None:
        flag = "--cdrom" if words.cdrom else "--no-cdrom"
        raise errors.UsageError(f"{flag} is not usable with --floppy")
    return guest.Rescue(
        image=image,
        boot=options.direct_boot(words),
        last=words.last,
        bus=DiskBus.FDC if words.floppy else bus and DiskBus.parse("--disk-bus", bus),
        cdrom=words.cdrom,
    )
