# SPDX-License-Identifier: Apache-2.0
"""Errors of writing that say how much space the file system lacks."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system import filesystem


@contextlib.contextmanager
def writing(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn the ``OSError`` of writing below a directory into typed errors.

    :param path: the directory.
    :param needed: size of the whole content in bytes; 0 if the size is not known.
    :raises NotEnoughSpace: if the file system of the directory is full.
    :raises HostError: if writing fails for another reason.
    """
    free = None
    with contextlib.suppress(OSError):  # of a directory that the user may not enter
        free = shutil.disk_usage(filesystem.existing_parent(path)).free
    try:
        yield
    except OSError as error:
        if error.errno is None:  # some libraries derive their own errors from OSError
            raise
        if filesystem.is_full(error):
            raise full(path, needed, free if needed else None) from error
        raise exceptions.HostError(f"cannot write in {path}: {error.strerror}") from error


def require(path: Path, needed: int) -> None:
    """Refuse a file that the file system has no space for.

    :param path: the directory of the file.
    :param needed: bytes still to write.
    :raises NotEnoughSpace: if fewer bytes are free.
    """
    if needed > shutil.disk_usage(path).free:
        raise full(path, needed)


def is_used_up(path: Path) -> bool:
    """Tell whether the file system of a directory has no space for a block or for a file."""
    status = os.statvfs(path)
    return not status.f_bavail or (status.f_files > 0 and not status.f_favail)


def full(path: Path, needed: int = 0, free: int | None = None) -> exceptions.NotEnoughSpace:
    """Return the error for a full file system.

    :param path: see :func:`writing`.
    :param needed: likewise.
    :param free: the bytes that were free before the content took them; None for the free bytes now.
    """
    wanted = f"{needed} bytes are needed, " if needed else ""
    free = shutil.disk_usage(path).free if free is None else free
    return exceptions.NotEnoughSpace(f"not enough space in {path}: {wanted}{free} are free")
