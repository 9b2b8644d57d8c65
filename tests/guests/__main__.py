# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.guests``: builds a guest and prints the paths of its files."""

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from tests.guests import ARCHITECTURES, FLAVOURS, GuestBuildError, build


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    parser.add_argument("--flavour", choices=list(FLAVOURS), default="basic")
    parser.add_argument("--arch", choices=list(ARCHITECTURES), default="x86_64")
    parser.add_argument("--cache", type=Path, help="folder for images and packages")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        images = build(arguments.flavour, arguments.arch, arguments.cache)
    except GuestBuildError as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in dataclasses.asdict(images).items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
