# SPDX-License-Identifier: Apache-2.0
"""Finds a Python interpreter for the scripts of this package that run as separate processes."""

from __future__ import annotations

import os
import shutil
import sys


def find_python() -> str:
    """Return the path of a Python interpreter.

    If another program embeds Python, as uwsgi does, ``sys.executable`` is the other program.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    installed = [os.path.join(sys.exec_prefix, "bin", name) for name in (version, "python3")]
    for path in (sys.executable, *installed):
        if path and os.path.basename(path).startswith("python") and os.access(path, os.X_OK):
            return path
    return shutil.which(version) or shutil.which("python3") or "/usr/bin/python3"
