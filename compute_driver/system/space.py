# SPDX-License-Identifier: Apache-2.0
"""Turns what a file system cannot do into errors that say what it lacks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system import filesystem


@contextlib.contextmanager
def writing(path: Path, needed: int = 0) -> Iterator[None]:
    """Explain the failures of what is written below a directory.

    :param path: the directory.
    :param needed: bytes that the whole content takes; 0 if that is not known.
    :raises NotEnoughSpace: if its file system is full.
    :raises HostError: if it cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of a library that calls its own errors OSError
            raise
        if filesystem.is_full(error):
            raise full(path, needed) from error
        raise exceptions.HostError(f"cannot write in {path}: {error.strerror}") from error


def require(path: Path, needed: int) -> None:
    """Refuse at once what cannot fit.

    :param path: the directory that will be written to.
    :param needed: bytes still to come.
    :raises NotEnoughSpace: if fewer are free.
    """
    if needed > shutil.disk_usage(path).free:
        raise full(path, needed)


def full(path: Path, needed: int = 0) -> exceptions.NotEnoughSpace:
    """Return the error for a full file system; parameters as for :func:`writing`."""
    wanted = f"{needed} bytes are needed, " if needed else ""
    free = shutil.disk_usage(path).free
    return exceptions.NotEnoughSpace(f"not enough space in {path}: {wanted}{free} are free")
