# SPDX-License-Identifier: Apache-2.0
"""The directories of guests that share a cache, and the images that each directory took.

Layout of ``users`` in the cache, private to the driver::

    OWNER/directory.json      where the directory of guests with this owner was last: host and path
    OWNER/directory-NAME.json likewise, of a copy of the directory beside the first
    OWNER/KEY.GUEST           empty: this guest of the directory took the image KEY

OWNER is the UUID of :mod:`compute_driver.storage.owner`: a directory that moves keeps its records,
and a copy of a directory has the owner of the first.
A guest needs the images that it took as long as its own directory exists: another client may have
put its disks anywhere.  At the end of a rescue the driver looks, and keeps the records of the
images that the guest's disks need.  The headers of the disks in a directory tell the images of
guests from before the records.  While the directory with the owner cannot be read, all its guests
on record may exist.  The removal of a guest removes its records.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.storage import home, owner
from compute_driver.system import files, filesystem

_NOTE = "directory"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Directory:
    """A directory of guests.

    :param host: name of the host that has the directory.
    :param path: the directory, without symbolic links.
    """

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} of host {self.host}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absent:
    """A directory of guests that cannot be read, or has not the owner on record.

    :param record: the directory or the file in the cache with the record.
    :param reason: a sentence that names the directory.
    """

    record: Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """The needs of guests in all directories on record.

    :param used: the needed files, with the guests' UUIDs.
    :param absent: for each KEY that guests may need, the directories that may have these guests.
    """

    used: dict[Path, set[str]]
    absent: dict[str, set[Absent]]


NOBODY = Survey(used={}, absent={})


class Users:
    """The records in a cache.

    :param conf: configuration with group ``[hypervisor]`` registered.
    :param settle: makes the missing owner of this driver's directory, and returns the owner.
    """

    def __init__(self, conf: cfg.ConfigOpts, settle: Callable[[], str] | None = None) -> None:
        self._conf = conf
        self._cache = Path(os.path.realpath(conf.hypervisor.image_cache_path))
        self._users = Path(conf.hypervisor.image_cache_path, "users")
        self._instances = Path(conf.hypervisor.instances_path)
        self._settle = settle or (lambda: owner.make(self._instances))

    def record(self, key: str, *guests: str) -> None:
        """Note that guests of this driver take an image.

        :param guests: the names of the guests' directories.
        :raises HostError: if the cache belongs to another user.
        """
        filesystem.make_directory(self._instances, filesystem.PASSABLE)
        record = self._users / (owner.read(self._instances) or self._settle())
        try:
            with filesystem.host_errors(f"{record} cannot be written"):
                self._locate(record)
                for guest in guests:
                    if not (record / f"{key}.{guest}").exists():
                        (record / f"{key}.{guest}").touch(0o600)
        except exceptions.NotEnoughSpace:
            raise
        except exceptions.HostError as error:
            raise exceptions.HostError(
                f"{error}; the cache keeps images only for guests that it has a record of: option "
                "image_cache_path sets another cache"
            ) from error

    def record_old(self, key: str, guests: Iterable[str]) -> None:
        """Note that guests from before the records took an image, if their directories are here.

        :raises HostError: as :meth:`record`.
        """
        here = [guest for guest in guests if (self._instances / guest).is_dir()]
        if here:
            self.record(key, *here)

    def _locate(self, record: Path) -> None:
        """Note where this driver's directory is, in place of a directory that has gone."""
        own = self._here()
        notes = {note: _noted(note) for note in _notes(record)}
        if own in notes.values():
            return
        filesystem.make_directory(self._users, 0o700)
        filesystem.make_directory(record, 0o700)
        gone = (note for note, place in notes.items() if not _has(place, record.name))
        name = f"{_NOTE}-{uuid.uuid4().hex}.json" if notes else f"{_NOTE}.json"
        with files.new_file(next(gone, record / name)) as note:
            note.write_text(json.dumps(dataclasses.asdict(own)))

    def forget(self, key: str) -> None:
        """Drop the records of an image that is removed."""
        self._drop(f"*/{key}.*")

    def release(self, guest: str, but: Iterable[Path] = ()) -> None:
        """Drop the records of a guest of this driver.

        :param but: see :meth:`ImageCache.release`.
        """
        own = owner.read(self._instances)
        if own is not None:
            self._drop(f"{own}/*.{guest}*", set(filter(None, map(_inode, but))))

    def _drop(self, pattern: str, but: Collection[tuple[int, int]] = ()) -> None:
        with filesystem.host_errors(f"{self._users} cannot be written"):
            for path in self._users.glob(pattern):
                if _inode(self._cache / path.name.partition(".")[0]) not in but:
                    path.unlink(missing_ok=True)

    def survey(self) -> Survey:
        """Find out what guests on record need, and all guests in other directories.

        :raises HostError: if the records cannot be read.
        """
        survey = Survey(used=defaultdict(set), absent=defaultdict(set))
        for record in self._records():
            guests: list[str] = []
            absent: set[Absent] = set()
            try:
                found, absent = self._directories(record)
                for directory in found:
                    names = _guests(directory)
                    guests += names
                    if directory != self._here():  # the driver reads its own disks itself
                        for guest in names:
                            for base in _bases(self._conf, Path(directory.path, guest)):
                                survey.used[base].add(guest)
            except exceptions.HostError as error:
                absent = {Absent(record=record, reason=str(error))}
            for key, guest in _taken(record):
                if any(name.startswith(guest) for name in guests):
                    survey.used[self._cache / key].add(guest)
                elif absent:
                    survey.absent[key] |= absent
        return survey

    def _records(self) -> list[Path]:
        with filesystem.host_errors(f"{self._users} cannot be read"):
            try:
                return sorted(self._users.iterdir())
            except FileNotFoundError:
                return []

    def _directories(self, record: Path) -> tuple[list[Directory], set[Absent]]:
        """Return the directories with the owner on record, also this driver's, and the absent ones.

        This driver's directory that is not on record has moved from an absent place.

        :raises HostError: if no directory has the owner.
        """
        notes = {note: _read(note) for note in _notes(record) or [record / f"{_NOTE}.json"]}
        here = self._here()
        moved = here not in notes.values() and _has(here, record.name)
        found = {place.path: place for place in notes.values() if _has(place, record.name)}
        absent = [
            Absent(
                record=note if len(notes) > 1 else record,
                reason=f"{place} has no file {owner.FILE} with owner {record.name}",
            )
            for note, place in notes.items()
            if place.path not in found
        ]
        if moved:
            found[here.path], absent = here, absent[1:]
        if not found:
            raise exceptions.HostError(absent[0].reason)
        return list(found.values()), set(absent)

    def _here(self) -> Directory:
        return Directory(host=socket.gethostname(), path=os.path.realpath(self._instances))


def _inode(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, which all its names share; None without the file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _notes(record: Path) -> list[Path]:
    """Return the notes of the places of the directories in a record."""
    return sorted(record.glob(f"{_NOTE}*.json"))


def _noted(note: Path) -> Directory | None:
    try:
        return _read(note)
    except exceptions.HostError:
        return None


def _read(note: Path) -> Directory:
    try:
        return Directory(**json.loads(note.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise exceptions.HostError(f"{note} cannot be read") from error


def _has(place: Directory | None, wanted: str) -> bool:
    """Tell whether a directory is at its place, and has the owner."""
    return place is not None and owner.read(Path(place.path)) == wanted


def _taken(record: Path) -> set[tuple[str, str]]:
    """Return the KEYs in a record, with the guests that took them."""
    notes = {note.name for note in _notes(record)}
    names = (name.partition(".") for name in os.listdir(record) if name not in notes)
    return {(key, guest) for key, _, guest in names}


def _guests(directory: Directory) -> list[str]:
    """Return the names of the guests' directories, and of others.

    :raises HostError: if the directory cannot be read.
    """
    with filesystem.host_errors(f"{directory} cannot be read"):
        return sorted(os.listdir(directory.path))


def _bases(conf: cfg.ConfigOpts, guest: Path) -> Iterator[Path]:
    """Yield the files that a guest needs.

    :raises HostError: if a disk of the guest cannot be read.
    """
    unreadable: dict[Path, exceptions.HostError] = {}
    for _disk, base in home.Home(conf, guest).bases(unreadable):
        yield Path(os.path.realpath(base))
    if home.is_directory_name(guest.name):
        for reason in unreadable.values():
            raise reason
