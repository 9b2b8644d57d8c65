# SPDX-License-Identifier: Apache-2.0
"""``rescue``: boot another system from the options of the command line."""

from __future__ import annotations

import argparse

from compute_driver import exceptions
from compute_driver.cmd import errors, options, progress, verb


class Rescue(verb.Verb):
    """Shut a guest down and boot another system on its machine, with its disks attached."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        add = parser.add_argument
        add("--image", metavar="SRC", required=True, help="path or URL of a disk or ISO image")
        add("--image-format", metavar="F", help="what the image must be: qcow2, raw, iso...")
        add("--checksum", metavar="ALG:HEX", help="checksum that the image must have")
        add("--kernel", metavar="SRC", help="path or URL of a kernel to start directly")
        add("--ramdisk", metavar="SRC", help="path or URL of the kernel's initial ramdisk")
        add("--cmdline", metavar="TEXT", help="command line of the kernel")
        add(
            "--last",
            action="store_true",
            help="attach it after the guest's disks, which keep their places (default: before)",
        )
        add(
            "--disk-bus",
            metavar="BUS",
            help="where it is attached (default: like the root disk or the machine's CD-ROM)",
        )
        add(
            "--cdrom",
            action=argparse.BooleanOptionalAction,
            help="whether it is in a CD-ROM drive (default: if it is an ISO image)",
        )
        add(
            "--timeout",
            type=verb.seconds,
            metavar="SECONDS",
            help="how long the guest may take to shut down (default: option stop_timeout)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Boot it."""
        uuid = self.find(parsed_args.guest)
        try:
            wanted = options.rescue(parsed_args)
        except exceptions.InvalidParameter as error:
            raise errors.UsageError(str(error)) from error
        with progress.shown(self.app.options.verbose_level > 0) as report:
            self.operate(uuid, wanted, timeout=parsed_args.timeout, progress=report)
