# SPDX-License-Identifier: Apache-2.0
"""Directories of a system libvirt that an embedded libvirt has left on this host.

A supervisor removes the directories that it has made.  A killed supervisor leaves them, and a
supervisor of an earlier release left them with mode 0700: a system libvirt that is installed later
then cannot start guests, because QEMU's user cannot pass the directories.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import stat
from pathlib import Path

from compute_driver.libvirt.embedded.system_directories import (
    MARK,
    PRIVATE,
    SYSTEM_DIRECTORIES,
    is_of_earlier_release,
    locked,
)
from compute_driver.system.filesystem import host_errors

#: Mode of these directories by Debian's packages.
_MODE = 0o755


@dataclasses.dataclass(frozen=True)
class LeftDirectory:
    """A directory that an embedded libvirt has left.

    :param path: the directory.
    :param empty: whether the directory has no other files.
    """

    path: Path
    empty: bool

    @property
    def detail(self) -> str:
        """The fault of the directory, in words."""
        if self.empty:
            return "an embedded libvirt has made it and has left it"
        return "an embedded libvirt has made it with mode 0700: QEMU's user cannot pass it"

    def repair(self) -> None:
        """Remove the directory, or give it the mode that a system libvirt needs.

        Nothing happens if a supervisor has begun to use the directory meanwhile.

        :raises HostError: if the operating system refuses.
        """
        with host_errors(f"{self.path} cannot be repaired"), locked(self.path.parent):
            if _examine(self.path) != self:
                return
            (self.path / MARK).unlink(missing_ok=True)
            if self.empty:
                self.path.rmdir()
            else:
                self.path.chmod(_MODE)


def find_left_directories(
    directories: tuple[str, ...] = tuple(SYSTEM_DIRECTORIES.values()),
) -> list[LeftDirectory]:
    """Return the directories that an embedded libvirt has left and that no supervisor uses.

    :param directories: the directories to examine.
    """
    examined = (_examine(Path(directory)) for directory in directories)
    return [left for left in examined if left is not None]


def _examine(directory: Path) -> LeftDirectory | None:
    try:
        status = directory.lstat()
        names = set(os.listdir(directory))
    except OSError:
        return None  # the directory is missing, or this user may not look into it
    private = stat.S_IMODE(status.st_mode) == PRIVATE
    if _is_used(directory / MARK) if MARK in names else not is_of_earlier_release(directory):
        return None
    empty = not names - {MARK}
    return LeftDirectory(directory, empty) if empty or private else None


def _is_used(mark: Path) -> bool:
    try:
        descriptor = os.open(mark, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True  # the mark belongs to another user, or no longer exists
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
