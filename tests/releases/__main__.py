# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a release of Debian, in a copy of this checkout."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.guests import GuestBuildError
from tests.releases import root


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.releases", description=__doc__)
    parser.add_argument("release", choices=sorted(root.RELEASES), help="the release of Debian")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="after --; runs at the top of the copy"
    )
    options = parser.parse_args()
    # Some releases of Python keep the first of these words, and some remove it.
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("the command is missing")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with root.ready(options.release) as folder:
            return root.run(folder, command)
    except GuestBuildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
