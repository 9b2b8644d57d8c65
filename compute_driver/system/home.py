# SPDX-License-Identifier: Apache-2.0
"""The user's directories, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def find_home() -> Path | None:
    """Return the user's home directory; None if neither HOME nor the passwords' database has one.

    A relative path is no home: its meaning depends on the working directory.
    """
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return None
    return Path(home) if os.path.isabs(home) else None


def find_base(variable: str, default: str) -> Path | None:
    """Return one of the user's base directories; None without a home directory.

    The specification says to ignore a relative path in *variable*.

    :param variable: such as ``XDG_DATA_HOME``.
    :param default: the directory below the home directory, such as ``.local/share``.
    """
    path = os.environ.get(variable, "")
    if os.path.isabs(path):
        return Path(path)
    home = find_home()
    return home and home / default
