# SPDX-License-Identifier: Apache-2.0
"""The directories of guests that share a cache, and the images that each directory took.

Layout of ``users`` in the cache, private to the driver::

    OWNER/directory.json    a directory of guests: host, path and inode
    OWNER/KEY.GUEST         empty: this guest of the directory took the image KEY

The headers of the disks in a directory tell which images its guests still need.  While the
directory cannot be read, its guests may need every image that they took.  The removal of a guest
removes its records.
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

    @functools.cached_property
    def owner(self) -> str:
        """The name of the directory's record."""
        return hashlib.sha256(json.dumps(dataclasses.astuple(self)).encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absent:
    """A directory of guests that cannot be read.

    :param record: the directory in the cache with the record.
    :param reason: a sentence that names the directory.
    """

    record: Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """The needs of guests in other directories.

    :param used: the needed files, with the guests' UUIDs.
    :param absent: for each KEY that guests may need, the directories that cannot be read.
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
        own = self._own() if self._instances.is_dir() else None
        seen = {own and (own.path, own.inode)}
        for record in self._records():
            directory = _read(record)
            if directory is not None and (directory.path, directory.inode) in seen:
                continue
            try:
                for base, guest in _needs(self._conf, record, directory):
                    survey.used[base].add(guest)
            except exceptions.HostError as error:
                absent = Absent(record=record, reason=str(error))
                for key in {path.name.partition(".")[0] for path in record.iterdir()}:
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


def _read(record: Path) -> Directory | None:
    try:
        return Directory(**json.loads((record / _NOTE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _needs(
    conf: cfg.ConfigOpts, record: Path, directory: Directory | None
) -> Iterator[tuple[Path, str]]:
    """Yield the files that guests in a directory need, with the guests' UUIDs.

    :raises HostError: if the directory or the disk of a guest cannot be read.
    """
    if directory is None:
        raise exceptions.HostError(f"{record / _NOTE} cannot be read")
    where = f"{directory.path} of host {directory.host}"
    path = Path(directory.path)
    with filesystem.host_errors(f"{where} cannot be read"):
        if path.stat().st_ino != directory.inode:
            raise exceptions.HostError(f"{where} is not there: {path} is another directory")
        guests = sorted(path.iterdir())
    for guest in guests:
        unreadable: dict[Path, exceptions.HostError] = {}
        for _disk, base in Home(conf, guest).bases(unreadable):
            yield Path(os.path.realpath(base)), guest.name
        # Other directories, such as lost+found, do not count.
        if is_uuid(guest.name[:_UUID_LENGTH]):
            for reason in unreadable.values():
                raise reason
