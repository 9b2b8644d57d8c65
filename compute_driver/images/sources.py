# SPDX-License-Identifier: Apache-2.0
"""Sources of images: local files and, by entry points, other URL schemes.

A source is an entry point of namespace ``compute_driver.image_sources``; its name is the URL scheme
of the source.  Other distributions may add sources.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import fcntl
import functools
import os
import re
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions, plugins
from compute_driver.driver import Progress
from compute_driver.guest import DirectBoot, Image
from compute_driver.system import files, space
from compute_driver.system.concurrency import run_blocking

NAMESPACE = "compute_driver.image_sources"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/?#]*@)?([^/?#]*)([^?#]*)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]*)?")
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CHUNK = 64 * 1024**2


class ImageSource(abc.ABC):
    """Reads images of one URL scheme.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abc.abstractmethod
    def identify(self, location: str) -> str | None:
        """Return a string that changes when the bytes at *location* change.

        The string may contain secrets of the location; the driver never shows or stores it.

        :return: None if the source cannot tell whether the bytes have changed.
        :raises ImageNotFound: if the location has no image.
        :raises ImageError: if the source does not answer.
        """

    @abc.abstractmethod
    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Write the bytes at *location* to *target*, in an existing directory.

        The caller serialises fetches to one target.  After a failure, the next fetch continues
        from the bytes at *target*; a source that cannot continue removes *target*.

        :param verified: whether the caller compares the bytes with a checksum; if not, a source
            that cannot tell whether all bytes have come must fail.
        :raises ImageNotFound: if the location has no image.
        :raises ImageFetchFailed: if not all bytes could be fetched.
        :raises NotEnoughSpace: if the file system of *target* is full.
        """


def find(location: str, conf: cfg.ConfigOpts) -> ImageSource:
    """Return the source that serves *location*, a URL or a local path.

    :raises InvalidParameter: if no source serves the scheme; names the served schemes.
    :raises PluginError: if the source does not load.
    """
    url = _URL.match(location)
    scheme = url[1].lower() if url else "file"
    try:
        return _load(scheme)(conf)
    except exceptions.PluginError:
        schemes = plugins.names(NAMESPACE)
        if scheme in schemes:
            raise
        raise exceptions.InvalidParameter(
            "image",
            shown(location),
            f"a local path or a URL with one of the schemes {', '.join(schemes)}",
        ) from None


@functools.cache
def _load(scheme: str) -> type[ImageSource]:
    return plugins.load(NAMESPACE, scheme)  # type: ignore[no-any-return]


def shown(location: str) -> str:
    """Return *location* for logs and errors, without credentials and without the query."""
    url = _URL.match(location)
    if url is None:
        return location
    scheme, host, path = url.groups()
    # The part before an unquoted '/' or '?' of a password looks like a host.
    return f"{scheme}://{host}{path}" if _HOST.fullmatch(host) else f"{scheme}://..."


def clean(image: Image) -> Image:
    """Return an image without the secrets of its URL."""
    return dataclasses.replace(image, location=shown(image.location))


def clean_boot(boot: DirectBoot) -> DirectBoot:
    """Return the images of a direct boot without the secrets of their URLs."""
    ramdisk = boot.ramdisk and clean(boot.ramdisk)
    return dataclasses.replace(boot, kernel=clean(boot.kernel), ramdisk=ramdisk)


def basename(location: str) -> str:
    """Return the last part of *location*, for progress messages."""
    return shown(location).rstrip("/").rpartition("/")[2]


class FileSource(ImageSource):
    """Local files: a path or a ``file://`` URL."""

    def identify(self, location: str) -> str:
        """Return path, size, time of change and inode."""
        path = _path(location)
        with _explained(path):
            return _identity(path, os.stat(path))

    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Clone or copy the file; holes stay holes."""
        path = _path(location)
        try:
            # Without O_NONBLOCK, open waits for the writer of a FIFO.
            with _explained(path):
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as source:
                before = os.fstat(descriptor)
                identity = _identity(path, before)
                with (
                    space.writing(target.parent, files.allocated_by(before)),
                    target.open("wb") as copy,
                ):
                    _copy(descriptor, copy.fileno(), before.st_size, path.name, progress)
                if _identity(path, os.fstat(source.fileno())) != identity:
                    raise exceptions.ImageFetchFailed(f"{path} changed while it was copied")
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _path(location: str) -> Path:
    url = _URL.match(location)
    if url is None:
        return Path(location).absolute()
    path = urllib.parse.unquote(url[3])
    sound = url[2] in ("", "localhost") and path.startswith("/") and "\x00" not in path
    if not sound or url.end() < len(location):
        raise exceptions.InvalidParameter("image", shown(location), "file:///ABSOLUTE/PATH")
    return Path(path)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise exceptions.ImageNotFound(f"there is no image {path}") from None
    except OSError as error:
        raise exceptions.ImageFetchFailed(f"cannot read image {path}: {error.strerror}") from error


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def _identity(path: Path, status: os.stat_result) -> str:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise exceptions.ImageUnacceptable(f"{path} is {kind}, not a regular file")
    fields = (path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
    return "file:" + ":".join(map(str, fields))


def _copy(source: int, copy: int, size: int, name: str, progress: Progress) -> None:
    activity = f"copying {name}"
    try:
        run_blocking(fcntl.ioctl, copy, _FICLONE, source)
    except OSError:
        for start, end in _extents(source, size):
            position = start
            while position < end:
                done = run_blocking(
                    _copy_range, source, copy, position, min(_CHUNK, end - position)
                )
                if not done:  # another process has truncated the file: its identity tells
                    break
                position += done
                progress(activity, position, size)
        os.ftruncate(copy, size)
    progress(activity, size, size)


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each part with data; lseek(2)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError:  # ENXIO: the rest is a hole
            return
        end = os.lseek(source, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, copy: int, position: int, count: int) -> int:
    try:
        return os.copy_file_range(source, copy, count, position, position)
    except OSError:  # between file systems, for example; a real error comes again
        os.lseek(copy, position, os.SEEK_SET)
        return os.sendfile(copy, source, position, count)
