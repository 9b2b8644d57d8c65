# SPDX-License-Identifier: Apache-2.0
"""Typed errors for the refusals of a file system, and directories that QEMU can pass."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Mode of directories that any user may pass but not list: QEMU may run as another user.
PASSABLE = 0o711


def is_full(error: OSError) -> bool:
    """Tell whether the file system, or the user's quota on it, is full."""
    return error.errno in _FULL


@contextlib.contextmanager
def host_errors(failure: str) -> Iterator[None]:
    """Turn ``OSError`` into typed errors.

    :param failure: what the host cannot do, for the message.
    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if the operating system refuses for another reason.
    """
    try:
        yield
    except OSError as error:
        kind = exceptions.NotEnoughSpace if is_full(error) else exceptions.HostError
        raise kind(f"{failure}: {error.strerror or error}") from error


def make_directory(path: Path, mode: int) -> None:
    """Make a directory and its missing parents; existing directories stay as they are.

    :param path: the directory.
    :param mode: its permissions, whatever the umask; new parents get :data:`PASSABLE`.
    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if the directory cannot be made for another reason.
    """
    with host_errors(f"{path} cannot be made"):
        missing = [parent for parent in path.parents if not parent.exists()]
        for parent in reversed(missing):
            _make(parent, PASSABLE)
        _make(path, mode)


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(mode)


def existing_parent(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that exists."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
