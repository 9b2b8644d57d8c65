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

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Fill an empty file that only its owner may read; it becomes *target* in the end.

    The block writes to the path it is given; if it fails, that file is removed and *target* is
    as it was before.

    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(target):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def host_errors(target: Path) -> Iterator[None]:
    """Turn what the operating system refuses into typed errors.

    :param target: the file that cannot be made, for the message.
    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if it refuses for another reason.
    """
    try:
        yield
    except OSError as error:
        kind = exceptions.NotEnoughSpace if error.errno in _FULL else exceptions.HostError
        raise kind(f"{target} cannot be made: {error.strerror or error}") from error
