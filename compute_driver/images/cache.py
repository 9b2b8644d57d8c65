# SPDX-License-Identifier: Apache-2.0
"""Keeps one copy of each image for all guests of the host.

Layout of ``image_cache_path``, a directory that QEMU can pass and no other user can list::

    KEY         a complete image, in a format that can be the base of guests' disks
    KEY.json    format and sizes of the image; a hit reads nothing else
    tmp/        unfinished files, private to the driver
    locks/      one lock for each KEY in the making
    users/      who took each image; see :mod:`compute_driver.images.users`

KEY is a digest of the image's identity: an image that changes at its location gets another KEY.
Both files of a KEY appear by a rename, and only complete.

The time of change of KEY.json tells the last use of the image.  A lock on KEY.json keeps the image:
within :meth:`ImageCache.holding` a caller has a shared lock until the disks of the image are made,
and the driver removes an image only under an exclusive lock.  A guest of an image has the path of
the image in the header of a disk, or a second name of the image's file.  Several directories of
guests may share a cache.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.driver import Progress, no_progress
from compute_driver.guest import Image
from compute_driver.images import sources
from compute_driver.images.entry import CachedImage, Entry, holder, holding
from compute_driver.images.inspect import DOCUMENT, ImageDetails, inspect, is_dirty, is_document
from compute_driver.images.users import NOBODY, Absent, Users
from compute_driver.info import CacheEntry
from compute_driver.system import concurrency, filesystem, space, tools
from compute_driver.system.concurrency import run_blocking

LOG = logging.getLogger(__name__)

#: QEMU's block drivers, with their options, for the formats that cannot be the base of guests'
#: disks.  By default, QEMU takes the size of most VHDs from their geometry, which is rounded.
_CONVERTED: dict[DiskFormat, dict[str, object]] = {
    DiskFormat.VMDK: {"driver": "vmdk"},
    DiskFormat.VDI: {"driver": "vdi"},
    DiskFormat.VHD: {"driver": "vpc", "force_size_calc": "current_size"},
    DiskFormat.VHDX: {"driver": "vhdx"},
}

#: Exit status of "qemu-img check" for wasted clusters, which do no harm; qemu-img(1).
_ONLY_LEAKS = 3

_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024**2


class ImageCache:
    """Images and kernels, fetched once for all threads and processes of the host.

    :param conf: configuration with group ``[hypervisor]`` registered.
    :param settle: makes the missing owner of this driver's directory of guests, and returns the
        owner; the default makes a new owner.
    """

    def __init__(self, conf: cfg.ConfigOpts, settle: Callable[[], str] | None = None) -> None:
        self._conf = conf
        self._directory = Path(conf.hypervisor.image_cache_path)
        self._users = Users(conf, settle)

    def get(self, image: Image, progress: Progress = no_progress) -> CachedImage:
        """Return a disk image; fetch, check and convert the image if the cache lacks it.

        :param progress: called while bytes come in.
        :raises ImageNotFound: if the location has no image.
        :raises ImageFetchFailed: if the image could not be fetched completely; the next call
            continues if the source can.
        :raises ImageUnacceptable: if the bytes do not match the claims, or are not safe.
        :raises NotEnoughSpace: if the cache's file system is full.
        :raises ToolFailed: if the image could not be converted within the limits.
        :raises HostError: if the cache belongs to another user.
        """
        found = self._cached("disk", image, progress, self._prepare_disk)[0]
        guest = holder()
        if guest is not None:
            self._users.record(found.path.name, guest)
        return found

    def get_file(self, image: Image, progress: Progress = no_progress) -> Path:
        """Return the path of a kernel or a ramdisk, which is kept byte by byte.

        :raises ComputeDriverError: as :meth:`get`.
        """
        return self._cached("file", image, progress, _prepare_file)[0].path

    def fetch(self, image: Image, progress: Progress = no_progress, *, boot: bool = False) -> bool:
        """Put an image into the cache, and tell whether the image had to be fetched.

        :param boot: whether the image is a kernel or a ramdisk.
        :raises InvalidParameter: if the driver cannot recognise the image the next time.
        :raises ComputeDriverError: as :meth:`get`.
        """
        identity = sources.find(image.location, self._conf).identify(image.location)
        if identity is None and image.checksum is None:
            accepted = "a checksum: the source of the image does not tell whether it has changed"
            raise exceptions.InvalidParameter("checksum", None, accepted)
        if boot:
            return self._cached("file", image, progress, _prepare_file)[1]
        return self._cached("disk", image, progress, self._prepare_disk)[1]

    def holding(self, guest: str) -> AbstractContextManager[None]:
        """Protect all images that this thread asks for meanwhile, for a guest, from removal.

        :param guest: the guest's UUID.
        """
        return holding(guest)

    def release(self, guest: str, but: Iterable[Path] = ()) -> None:
        """Note that a guest needs no image any more, or only some.

        :param but: files that the guest needs; those that are no images, nor second names of
            images, do not count.
        :raises HostError: if the cache belongs to another user.
        """
        self._users.release(guest, but)

    def entries(self) -> list[CacheEntry]:
        """Return the complete images, the latest used first, without their users."""
        found = [entry.describe() for entry in self._whole()]
        return sorted(filter(None, found), key=lambda entry: entry.used_at, reverse=True)

    def prune(
        self, min_age: float, users: Callable[[], Mapping[Path, Collection[str]]]
    ) -> list[CacheEntry]:
        """Remove the images that nobody has used for some time, and return them.

        :param min_age: the time in seconds.
        :param users: returns the files that guests need, with the guests; called when all images
            that may go are locked.
        """
        now = time.time()
        removed = []
        kept: Counter[Absent] = Counter()
        with contextlib.ExitStack() as stack:
            locked = [entry for entry in self._whole() if entry.lock_alone(stack)]
            own, known = (users(), run_blocking(self._users.survey)) if locked else ({}, NOBODY)
            for entry in locked:
                # Under this lock no other process makes the image anew.
                with concurrency.try_lock(entry.lock) as held:
                    found = entry.describe() if held else None
                    if found is None:
                        continue
                    path, key = Path(os.path.realpath(entry.path)), entry.path.name
                    self._users.record_old(key, own.get(path, ()))
                    if path in own or path in known.used or entry.is_linked():
                        entry.touch()
                    elif min(found.used_at, now) <= now - min_age:
                        kept.update(known.absent.get(key, ()))
                        if key not in known.absent:
                            entry.remove()
                            self._users.forget(key)
                            removed.append(found)
                    elif found.used_at > now:
                        entry.touch()  # the clock was ahead at the last use
        _warn(kept)
        return removed

    def recorded_users(self) -> Mapping[Path, Collection[str]]:
        """Return the files that guests on record or in other directories need, with their UUIDs.

        A warning names the directories that cannot be read.
        """
        survey = run_blocking(self._users.survey)
        keys = (entry.path.name for entry in self._whole())
        _warn(Counter(absent for key in keys for absent in survey.absent.get(key, ())))
        return survey.used

    def leftovers(self, used: Collection[Path] = (), *, remove: bool = False) -> list[Path]:
        """Return the files of fetches that have ended early.

        :param used: files that guests of this driver need, complete or not.
        :param remove: whether the files are removed.
        """
        left = []
        for path in self._abandoned():  # under its lock
            if not self._is_needed(path, used):
                if remove:
                    path.unlink(missing_ok=True)
                left.append(path)
        return left

    def _is_needed(self, path: Path, used: Collection[Path]) -> bool:
        """Tell whether guests, also in other directories, need a leftover file."""
        real = Path(os.path.realpath(path))
        if real in used:
            return True
        known = run_blocking(self._users.survey)
        return real in known.used or path.name.partition(".")[0] in known.absent

    def _whole(self) -> Iterator[Entry]:
        for path in sorted(self._directory.glob("*.json")):
            entry = Entry(self._directory, path.stem)
            if _KEY.fullmatch(path.stem) and entry.read():
                yield entry

    def _cached(
        self, kind: str, image: Image, progress: Progress, prepare: _Preparation
    ) -> tuple[CachedImage, bool]:
        """Return the image, and whether the image had to be fetched."""
        source = sources.find(image.location, self._conf)
        identity = source.identify(image.location)
        if identity is None:  # only a checksum tells whether the image has changed
            identity = image.location if image.checksum else uuid.uuid4().hex
        told_apart = [kind, identity, image.checksum, image.format]
        key = hashlib.sha256(json.dumps(told_apart).encode()).hexdigest()
        entry = Entry(self._directory, key)
        fetched = False
        while True:
            found = entry.read()
            if found is None:
                with space.writing(self._directory):
                    filesystem.make_directory(self._directory, filesystem.PASSABLE)
                    filesystem.make_directory(self._directory / "tmp", 0o700)
                    with concurrency.lock(entry.lock):
                        found = entry.read()
                        if found is None:
                            found = self._make(entry, source, image, progress, prepare)
                            fetched = True
            if entry.hold():  # otherwise another process has removed the image
                return found, fetched

    def _make(
        self,
        entry: Entry,
        source: sources.ImageSource,
        image: Image,
        progress: Progress,
        prepare: _Preparation,
    ) -> CachedImage:
        source.fetch(image.location, entry.part, progress, verified=image.checksum is not None)
        try:
            run_blocking(_check_checksum, entry.part, image)
            path, details = prepare(entry, image, progress)
            return run_blocking(entry.publish, path, details, sources.shown(image.location))
        finally:
            entry.discard()

    def _prepare_disk(
        self, entry: Entry, image: Image, progress: Progress
    ) -> tuple[Path, ImageDetails]:
        name, path, inner = sources.shown(image.location), entry.part, None
        # The insistence on raw makes a disk of any bytes, also of packed ones.
        if image.format is not DiskFormat.RAW:
            from compute_driver.images.unpack import unpack

            path, inner = unpack(path, name, progress, tools.limits(self._conf))
        examine = functools.partial(inspect, path, claimed=image.format, name=name, inner=inner)
        details = run_blocking(examine)
        driver = _CONVERTED.get(details.format)
        if details.format is DiskFormat.QCOW2:
            # A guest would read the missing part of a cut file as zeros.
            repair = ["-r", "all"] if is_dirty(path) else []
            check = ["qemu-img", "check", "-q", *repair, "-f", "qcow2", str(path)]
            self._qemu_img(check, name, accepted=(0, _ONLY_LEAKS))
            details = run_blocking(examine) if repair else details
        if driver is None:
            return path, details
        progress(f"converting {sources.basename(image.location)}", 0, 0)
        # The qemu-img of a killed driver may still lock its output file.
        entry.converted.unlink(missing_ok=True)
        # QEMU does not open a backing file, even if the inspection has missed its name.
        source = driver | {"backing": None, "file": {"driver": "file", "filename": str(path)}}
        convert = ["qemu-img", "convert", "-q", "-O", "qcow2", f"json:{json.dumps(source)}"]
        self._qemu_img([*convert, str(entry.converted)], name)
        return entry.converted, run_blocking(inspect, entry.converted, name=name)

    def _qemu_img(self, argv: list[str], name: str, accepted: tuple[int, ...] = (0,)) -> None:
        try:
            tools.run(argv, tools.limits(self._conf), accepted=accepted)
        except exceptions.NotEnoughSpace as error:
            raise space.full(self._directory) from error
        except tools.LimitPassed:
            raise
        except exceptions.ToolFailed as error:
            raise exceptions.ImageUnacceptable(f"image {name} is damaged: {error}") from error

    def _abandoned(self) -> Iterator[Path]:
        """Yield every leftover file, under the lock of its KEY."""
        names = {
            path.name.partition(".")[0]
            for directory in (".", "tmp", "locks")
            for path in (self._directory / directory).glob("*")
        }
        for key in sorted(filter(_KEY.fullmatch, names)):
            entry = Entry(self._directory, key)
            # The release of a dead process's lock also removes the lock's file.
            with concurrency.try_lock(entry.lock) as held:
                if held:
                    yield from entry.remains()


_Preparation = Callable[[Entry, Image, Progress], tuple[Path, ImageDetails]]


def _prepare_file(entry: Entry, image: Image, progress: Progress) -> tuple[Path, ImageDetails]:
    size = entry.part.stat().st_size
    if not size:
        raise exceptions.ImageUnacceptable(f"file {sources.shown(image.location)} is empty")
    if is_document(entry.part):
        raise exceptions.ImageUnacceptable(
            f"file {sources.shown(image.location)} is {DOCUMENT}; accepted: a kernel or a ramdisk"
        )
    return entry.part, ImageDetails(format=DiskFormat.RAW, virtual_size=size)


def _warn(kept: Counter[Absent]) -> None:
    for absent, count in kept.items():
        LOG.warning(
            "The cache keeps %d %s for guests that may exist: %s. If their directory is gone for "
            "good, remove %s",
            count,
            "image" if count == 1 else "images",
            absent.reason,
            absent.record,
        )


def _check_checksum(path: Path, image: Image) -> None:
    if image.checksum is None:
        return
    algorithm, _, expected = image.checksum.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise exceptions.ImageUnacceptable(
            f"image {sources.shown(image.location)} does not match its checksum: "
            f"its checksum is {algorithm}:{digest.hexdigest()}, expected {image.checksum}"
        )
