# SPDX-License-Identifier: Apache-2.0
"""Short names of directories: symbolic links, so that the paths of UNIX sockets fit the limit.

A session libvirtd makes UNIX sockets some 85 bytes below its configuration directory (see
:mod:`compute_driver.libvirt.names`), which is too deep for most home directories.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from compute_driver.exceptions import LibvirtUnavailable

SOCKET_PATH_MAX = 107  # bytes, sockaddr_un(7)
PLACE = Path("/tmp")  # noqa: S108 - a fixed place; the link's owner is checked


def of(base: Path) -> Path:
    """Return the short name of a session daemon's directory, the same for each start."""
    identity = f"{os.geteuid()}:{os.path.realpath(base)}"
    return PLACE / f"cd-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]}"


def leads_to(name: Path, base: Path) -> bool:
    """Tell whether the link exists and is this user's: any user may make links in ``/tmp``."""
    try:
        return name.lstat().st_uid == os.geteuid() and os.readlink(name) == os.path.realpath(base)
    except OSError:
        return False


def make(name: Path, base: Path) -> None:
    """Make the link unless it exists.

    :raises LibvirtUnavailable: if another file has the name, or the link cannot be made.
    """
    target = os.path.realpath(base)
    try:
        with suppress(FileExistsError):
            name.symlink_to(target)
    except OSError as error:
        raise LibvirtUnavailable(f"cannot make {name} for the embedded libvirt: {error}") from error
    if not leads_to(name, base):
        raise LibvirtUnavailable(
            f"{name} should be a link to {target}, made by user ID {os.geteuid()}; remove it"
        )
