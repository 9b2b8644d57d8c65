# SPDX-License-Identifier: Apache-2.0
"""Makes private files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system.filesystem import host_errors

#: Errors of link(2) where hard links are impossible: by the file system, or on others' files.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP})

#: The unit of ``st_blocks`` in stat(2).
_BLOCK_BYTES = 512


class Taken(exceptions.HostError):
    """The target exists already and must not be replaced."""


@contextlib.contextmanager
def new_file(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield the path of an empty file that only its owner may read; it becomes *target* in the end.

    The block writes to the yielded path.  If the block fails, the file is removed and *target*
    stays as it was.

    :param replace: whether the file replaces an existing *target*.
    :raises Taken: if *target* exists and *replace* is false.
    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(f"{target} cannot be made"):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            if replace:
                temporary.replace(target)
            else:
                move(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def move(source: Path, target: Path) -> None:
    """Rename a file to *target*, which must not exist.

    :raises Taken: if *target* exists.
    :raises OSError: if the operating system refuses.
    """
    try:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            source.replace(target)
        else:
            source.unlink()
    except FileExistsError as error:
        raise Taken(f"{target} is there already") from error


def allocated(path: Path) -> int:
    """Return the disk space of a file in bytes; the caller need not be able to read the file.

    :raises HostError: if the file does not exist, or stat(2) fails.
    """
    with host_errors(f"{path} cannot be looked at"):
        return path.stat().st_blocks * _BLOCK_BYTES
