# SPDX-License-Identifier: Apache-2.0
"""Makes private files that appear complete or not at all."""

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
from compute_driver.guest import MIB, shown_size
from compute_driver.system import concurrency, tools
from compute_driver.system.filesystem import host_errors

#: Errors of link(2) on a file system without hard links, or for a file of another user.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP})

#: Errors of link(2) where a copy is possible: another file system, too many links, and for a file
#: of another user (sysctl fs.protected_hardlinks) or on a file system without hard links.
_UNLINKABLE = _NO_LINKS | {errno.EXDEV, errno.EMLINK}

#: Processor time of a copy: cp parses no image format, so only the time limit matters.
_COPY_CPU_SECONDS = 86400

#: A copy may take this time plus the time that a slow disk needs for the bytes.
COPY_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 4 * MIB

#: Letters of a file's name, of at most four bytes each, that its temporary name begins with.
_PREFIX = 48

#: The unit of ``st_blocks`` in stat(2).
_BLOCK_BYTES = 512


class Taken(exceptions.HostError):
    """The target exists already and must not be replaced."""


def lengthen(path: Path, size: int, field: str) -> None:
    """Give a file its size; the bytes that are added take no space.

    :param size: in bytes, not below the present size.
    :param field: name of the size, for the error.
    :raises NotOnThisHost: if the file system cannot have files of this size; names the largest.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(f"{path} cannot grow"):
        try:
            os.truncate(path, size)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            largest = shown_size(_largest(path.parent, size))
            accepted = f"at most {largest}, the largest file of the file system of {path.parent}"
            raise exceptions.NotOnThisHost(field, shown_size(size), accepted) from error


def _largest(directory: Path, beyond: int) -> int:
    """Return the size of the largest file that a file system can have, in bytes.

    No interface of the kernel tells the size.

    :param beyond: a size that the file system refuses.
    """
    largest = 0
    with tempfile.TemporaryFile(dir=directory) as file:
        while beyond - largest > 1:
            middle = (largest + beyond) // 2
            try:
                os.ftruncate(file.fileno(), middle)
                largest = middle
            except OSError:
                beyond = middle
    return largest


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
        # The temporary name of a file with a long name has at most 255 bytes, too.
        prefix = f".{target.name[:_PREFIX]}."
        descriptor, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
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
        raise Taken(f"{target} exists already") from error


def allocated(path: Path) -> int:
    """Return the disk space of a file in bytes; the caller need not be able to read the file.

    :raises HostError: if the file does not exist, or stat(2) fails.
    """
    with host_errors(f"{path} cannot be examined"):
        return allocated_by(path.stat())


def allocated_by(status: os.stat_result) -> int:
    """Return the disk space of a file in bytes, by its status."""
    return status.st_blocks * _BLOCK_BYTES


def place(source: Path, target: Path) -> None:
    """Link a file that nobody writes to any more to *target*, or copy it if no link is possible.

    :param source: a complete file: an ISO 9660 image, a kernel or a ramdisk.
    :param target: a path that does not exist.
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
    """Copy a file that nobody writes to during the copy.

    The copy shares the blocks of the file if the file system can, and holes stay holes.

    :param target: a path that does not exist; the copy appears complete, with the same owner.
    :param limits: memory limit of the copy; the size of the file sets the time limit.
    :raises NotEnoughSpace: if the copy does not fit.
    :raises HostError: if the operating system refuses, or the copy takes too long.
    """
    limits = dataclasses.replace(limits, cpu_seconds=_COPY_CPU_SECONDS)
    timeout = COPY_SECONDS + allocated(source) / _SLOWEST_BYTES_PER_SECOND
    with new_file(target) as path:
        sharing = ["--reflink=auto", "--sparse=auto", "--preserve=mode,ownership"]
        tools.run(["cp", *sharing, "--", str(source), str(path)], limits, timeout=timeout)
