# SPDX-License-Identifier: Apache-2.0
"""Runs other programs that read the files of a test."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def output(*argv: str | Path) -> str:
    """Run a program and return its standard output.

    :raises AssertionError: if the program fails.
    """
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"PATH": path})
    if done.returncode:
        raise AssertionError(f"{argv}: {done.stderr}")
    return done.stdout


def described(path: Path, image_format: str) -> dict[str, object]:
    """Return the fields that ``qemu-img info`` shows of an image file."""
    fields: dict[str, object] = json.loads(
        output("qemu-img", "info", "-U", "-f", image_format, "--output=json", path)
    )
    return fields
