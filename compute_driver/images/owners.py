# SPDX-License-Identifier: Apache-2.0
"""The directories of guests that share a cache, and the images that each directory took.

Layout of ``users`` in the cache, private to the driver::

    OWNER/directory.json    a directory of guests: host, path and inode
    OWNER/KEY.GUEST         empty: this guest of the directory took the image KEY

The headers of the disks in a directory tell which images its guests still need.  While the
directory cannot be read, its guests may need every image that they took.  The same holds for guests
that are not in the directory while the directory is not certainly the one on record: it may be an
empty mount point, or on another host.  The removal of a guest removes its records.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.storage.home import Home
from compute_driver.system import files, filesystem

_NOTE = "directory.json"

#: Names of guests' directories begin with a UUID; nova's own driver adds to it.
_UUID_LENGTH = 36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Directory:
    """A directory of guests.

    :param host: name of the host that has the directory.
    :param path: the directory, without symbolic links.
    :param inode: tells the directory from an empty mount point, and from a later directory.
    """

    host: str
    path: str
    inode: int

    def __str__(self) -> str:
        return f"{self.path} of host {self.host}"

    @functools.cached_property
    def owner(self) -> str:
        """The name of the directory's record."""
        return hashlib.sha256(json.dumps(dataclasses.astuple(self)).encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absent:
    """A directory of guests that cannot be read, or is not the one on record.

    :param record: the directory in the cache with the record.
    :param reason: a sentence that names the directory.
    """

    record: Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """The needs of guests in other directories.

    :param used: the needed files, with the guests' UUIDs.
    :param absent: for each KEY that guests may need, the directories that may have these guests.
    """

    used: dict[Path, set[str]]
    absent: dict[str, list[Absent]]


NOBODY = Survey(used={}, absent={})


class Owners:
    """The records in a cache.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._users = Path(conf.hypervisor.image_cache_path, "users")
        self._instances = Path(conf.hypervisor.instances_path)

    def record(self, key: str, guest: str) -> None:
        """Note that a guest of this driver takes an image.

        :param guest: the name of the guest's directory.
        :raises HostError: if the cache belongs to another user.
        """
        filesystem.make_directory(self._instances, filesystem.PASSABLE)
        directory = self._own()
        record = self._users / directory.owner
        try:
            with filesystem.host_errors(f"{record} cannot be written"):
                if not (record / f"{key}.{guest}").exists():
                    self._write(record, f"{key}.{guest}", directory)
        except exceptions.NotEnoughSpace:
            raise
        except exceptions.HostError as error:
            raise exceptions.HostError(
                f"{error}; the cache keeps images only for guests that it has a record of: option "
                "image_cache_path sets another cache"
            ) from error

    def _write(self, record: Path, name: str, directory: Directory) -> None:
        filesystem.make_directory(self._users, 0o700)
        filesystem.make_directory(record, 0o700)
        if not (record / _NOTE).exists():
            with files.new_file(record / _NOTE) as note:
                note.write_text(json.dumps(dataclasses.asdict(directory)))
        (record / name).touch(0o600)

    def forget(self, key: str) -> None:
        """Drop the records of an image that is removed."""
        self._drop(f"*/{key}.*")

    def release(self, guest: str) -> None:
        """Drop the records of a guest of this driver that is removed."""
        if self._instances.is_dir():
            self._drop(f"{self._own().owner}/*.{guest}*")

    def _drop(self, pattern: str) -> None:
        with filesystem.host_errors(f"{self._users} cannot be written"):
            for path in self._users.glob(pattern):
                path.unlink(missing_ok=True)

    def survey(self) -> Survey:
        """Find out what guests in other directories need.

        :raises HostError: if the records cannot be read.
        """
        survey = Survey(used=defaultdict(set), absent=defaultdict(list))
        own = self._own().owner if self._instances.is_dir() else None
        for record in self._records():
            if record.name == own:
                continue
            guests: list[str] = []
            try:
                directory = _read(record)
                guests, doubt = _guests(directory), _doubt(directory)
                for guest in guests:
                    for base in _bases(self._conf, Path(directory.path, guest)):
                        survey.used[base].add(guest)
            except exceptions.HostError as error:
                guests, doubt = [], str(error)
            if doubt is None:  # the other guests on record are gone
                continue
            absent = Absent(record=record, reason=doubt)
            for key, guest in _taken(record):
                if not any(name.startswith(guest) for name in guests):
                    survey.absent[key].append(absent)
        return survey

    def _records(self) -> list[Path]:
        with filesystem.host_errors(f"{self._users} cannot be read"):
            try:
                return sorted(self._users.iterdir())
            except FileNotFoundError:
                return []

    def _own(self) -> Directory:
        path = os.path.realpath(self._instances)
        return Directory(host=socket.gethostname(), path=path, inode=os.stat(path).st_ino)


def _read(record: Path) -> Directory:
    try:
        return Directory(**json.loads((record / _NOTE).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise exceptions.HostError(f"{record / _NOTE} cannot be read") from error


def _taken(record: Path) -> set[tuple[str, str]]:
    """Return the KEYs in a record, with the guests that took them."""
    names = (path.name.partition(".") for path in record.iterdir() if path.name != _NOTE)
    return {(key, guest) for key, _, guest in names}


def _guests(directory: Directory) -> list[str]:
    """Return the names of the guests' directories, and of others.

    :raises HostError: if the directory cannot be read.
    """
    with filesystem.host_errors(f"{directory} cannot be read"):
        return sorted(os.listdir(directory.path))


def _doubt(directory: Directory) -> str | None:
    """Return why a guest that is not in a directory may exist all the same; None if it is gone."""
    if directory.host != socket.gethostname():
        return f"{directory} may be another directory than {directory.path} of this host"
    with filesystem.host_errors(f"{directory} cannot be read"):
        inode = os.stat(directory.path).st_ino
    if inode != directory.inode:
        return f"{directory} is not there: {directory.path} is another directory"
    return None


def _bases(conf: cfg.ConfigOpts, guest: Path) -> Iterator[Path]:
    """Yield the files that a guest needs.

    :raises HostError: if a disk of the guest cannot be read.
    """
    unreadable: dict[Path, exceptions.HostError] = {}
    for _disk, base in Home(conf, guest).bases(unreadable):
        yield Path(os.path.realpath(base))
    # Other directories, such as lost+found, do not count.
    if is_uuid(guest.name[:_UUID_LENGTH]):
        for reason in unreadable.values():
            raise reason
