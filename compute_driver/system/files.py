# SPDX-License-Identifier: Apache-2.0
"""Makes files that are complete and private, or are not there."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system.filesystem import host_errors

#: Where hard links cannot be: a file system without them, a file of somebody else's.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP})

#: What stat(2) counts blocks in.
_BLOCK_BYTES = 512


class Taken(exceptions.HostError):
    """A file that was not to be replaced is there."""


@contextlib.contextmanager
def new_file(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Fill an empty file that only its owner may read; it becomes *target* in the end.

    The block writes to the path it is given; if it fails, that file is removed and *target* is
    as it was before.

    :param replace: whether a file that is there by then is replaced.
    :raises Taken: if it is there and is not to be.
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
    """Give a file another name, that nothing has.

    :raises Taken: if something has it.
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
    """Return the space that a file takes, in bytes; it need not be readable.

    :raises HostError: if it is not there, or cannot be looked at.
    """
    with host_errors(f"{path} cannot be looked at"):
        return path.stat().st_blocks * _BLOCK_BYTES
