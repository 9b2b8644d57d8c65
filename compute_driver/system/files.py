# SPDX-License-Identifier: Apache-2.0
"""Makes files that are complete and private, or are not there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import MIB
from compute_driver.system import concurrency, tools
from compute_driver.system.filesystem import host_errors

#: Errors of link(2) on a file system without hard links, or for a file of another user.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP})

#: Errors of link(2) where a copy is possible: another file system, too many links, and for a file
#: of another user (sysctl fs.protected_hardlinks) or on a file system without hard links.
_UNLINKABLE = _NO_LINKS | {errno.EXDEV, errno.EMLINK}

#: Copying reads no format: a large disk may take its time.
_COPY_CPU_SECONDS = 86400

#: A copy is stuck that takes longer than this and than a slow disk needs for the bytes.
_COPY_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 4 * MIB

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


def place(source: Path, target: Path) -> None:
    """Give a file that is never written again a second name, or copy it where no link can be.

    :param source: a complete file: an ISO 9660 image, a kernel or a ramdisk.
    :param target: a path that is free.
    :raises NotEnoughSpace: if the copy does not fit.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(f"{target} cannot be made"):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
            with new_file(target) as path:
                concurrency.run_blocking(shutil.copyfile, source, path)


def clone(source: Path, target: Path, limits: tools.ToolLimits) -> None:
    """Copy a file that nobody writes to now; both share equal bytes on file systems that can.

    Holes stay holes.

    :param target: a path that is free; the file appears there complete, with the same owner.
    :param limits: how much memory the copy may use; its time follows from the size of the file.
    :raises NotEnoughSpace: if it does not fit.
    :raises HostError: if the operating system refuses, or the copy is stuck.
    """
    limits = dataclasses.replace(limits, cpu_seconds=_COPY_CPU_SECONDS)
    timeout = _COPY_SECONDS + allocated(source) / _SLOWEST_BYTES_PER_SECOND
    with new_file(target) as path:
        sharing = ["--reflink=auto", "--sparse=auto", "--preserve=mode,ownership"]
        tools.run(["cp", *sharing, "--", str(source), str(path)], limits, timeout=timeout)
