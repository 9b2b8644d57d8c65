# SPDX-License-Identifier: Apache-2.0
"""Keeps one copy of each image for all guests of the host.

Layout of ``image_cache_path``, a directory that QEMU can pass and no other user can list::

    KEY         a complete image, in a format that can be the base of guests' disks
    KEY.json    format and sizes of the image; a hit reads nothing else
    tmp/        unfinished files, private to the driver
    locks/      one lock for each KEY in the making

KEY is a digest of the image's identity: an image that changes at its location gets another KEY.
Both files of a KEY appear by a rename, and only complete.

The time of change of KEY.json tells the last use of the image.  A lock on KEY.json keeps the image:
within :meth:`ImageCache.holding` a caller has a shared lock until the disks of the image are made,
and the driver removes an image only under an exclusive lock.  A guest of an image has the path of
the image in the header of a disk, or a second name of the image's file.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.driver import Progress, no_progress
from compute_driver.guest import Image
from compute_driver.images import sources
from compute_driver.images.inspect import ImageDetails, inspect
from compute_driver.info import CacheEntry
from compute_driver.system import concurrency, filesystem, space, steps, tools
from compute_driver.system.concurrency import run_blocking

#: Names of QEMU's block drivers for the formats that cannot be the base of guests' disks.
_CONVERTED = {
    DiskFormat.VMDK: "vmdk",
    DiskFormat.VDI: "vdi",
    DiskFormat.VHD: "vpc",
    DiskFormat.VHDX: "vhdx",
}

#: Exit status of "qemu-img check" for wasted clusters, which do no harm; qemu-img(1).
_ONLY_LEAKS = 3

#: The shared locks of :meth:`ImageCache.holding`.
_holds: contextvars.ContextVar[contextlib.ExitStack | None] = contextvars.ContextVar(
    "holds", default=None
)

_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CachedImage:
    """An image that is ready for use and never changes.

    :param path: the file, absolute; any user who knows the path can read the file.
    :param format: ``qcow2``, ``raw`` or ``iso``.
    :param virtual_size: size of the disk that a guest sees, in bytes.
    """

    path: Path
    format: DiskFormat
    virtual_size: int


class ImageCache:
    """Images and kernels, fetched once for all threads and processes of the host.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._directory = Path(conf.hypervisor.image_cache_path)

    def get(self, image: Image, progress: Progress = no_progress) -> CachedImage:
        """Return a disk image; fetch, check and convert the image if the cache lacks it.

        :param progress: called while bytes come in.
        :raises ImageNotFound: if the location has no image.
        :raises ImageFetchFailed: if the image could not be fetched completely; the next call
            continues if the source can.
        :raises ImageUnacceptable: if the bytes do not match the claims, or are not safe.
        :raises NotEnoughSpace: if the cache's file system is full.
        :raises ToolFailed: if the image could not be converted within the limits.
        """
        return self._cached("disk", image, progress, self._prepare_disk)[0]

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

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Protect all images that this thread asks for meanwhile from removal."""
        with contextlib.ExitStack() as stack:
            token = _holds.set(stack)
            try:
                yield
            finally:
                _holds.reset(token)

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
        oldest = time.time() - min_age
        removed = []
        with contextlib.ExitStack() as stack:
            locked = [entry for entry in self._whole() if entry.lock_alone(stack)]
            used = users() if locked else {}
            for entry in locked:
                # Under this lock no other process makes the image anew.
                with concurrency.try_lock(entry.lock) as held:
                    found = entry.describe() if held else None
                    if found is None:
                        continue
                    if Path(os.path.realpath(entry.path)) in used or entry.is_linked():
                        entry.touch()
                    elif found.used_at <= oldest:
                        entry.remove()
                        removed.append(found)
        return removed

    def leftovers(self, used: Collection[Path] = ()) -> list[Path]:
        """Return the files of fetches that have ended early.

        :param used: files that guests need, complete or not.
        """
        return [path for path in self._abandoned() if Path(os.path.realpath(path)) not in used]

    def remove_leftovers(self, used: Collection[Path] = ()) -> list[Path]:
        """Remove the files that :meth:`leftovers` returns, and return their paths."""
        removed = []
        for path in self._abandoned():
            if Path(os.path.realpath(path)) not in used:
                path.unlink(missing_ok=True)
                removed.append(path)
        return removed

    def _whole(self) -> Iterator[_Entry]:
        for path in sorted(self._directory.glob("*.json")):
            entry = _Entry(self._directory, path.stem)
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
        entry = _Entry(self._directory, key)
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
        entry: _Entry,
        source: sources.ImageSource,
        image: Image,
        progress: Progress,
        prepare: _Preparation,
    ) -> CachedImage:
        source.fetch(image.location, entry.part, progress, verified=image.checksum is not None)
        try:
            run_blocking(_verify, entry.part, image)
            path, details = prepare(entry, image, progress)
            return run_blocking(entry.publish, path, details, sources.shown(image.location))
        finally:
            entry.discard()

    def _prepare_disk(
        self, entry: _Entry, image: Image, progress: Progress
    ) -> tuple[Path, ImageDetails]:
        name = sources.shown(image.location)
        details = run_blocking(inspect, entry.part, claimed=image.format, name=name)
        driver = _CONVERTED.get(details.format)
        if details.format is DiskFormat.QCOW2:
            # A guest would read the missing part of a cut file as zeros.
            check = ["qemu-img", "check", "-q", "-f", "qcow2", str(entry.part)]
            self._qemu_img(check, name, accepted=(0, _ONLY_LEAKS))
        if driver is None:
            return entry.part, details
        progress(f"converting {sources.basename(image.location)}", 0, 0)
        # The qemu-img of a killed driver may still lock its output file.
        entry.converted.unlink(missing_ok=True)
        convert = ["qemu-img", "convert", "-q", "-f", driver, "-O", "qcow2"]
        self._qemu_img([*convert, str(entry.part), str(entry.converted)], name)
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
            entry = _Entry(self._directory, key)
            # The release of a dead process's lock also removes the lock's file.
            with concurrency.try_lock(entry.lock) as held:
                if held:
                    yield from entry.remains()


_Preparation = Callable[["_Entry", Image, Progress], tuple[Path, ImageDetails]]


def _prepare_file(entry: _Entry, image: Image, progress: Progress) -> tuple[Path, ImageDetails]:
    size = entry.part.stat().st_size
    if not size:
        raise exceptions.ImageUnacceptable(f"file {sources.shown(image.location)} is empty")
    return entry.part, ImageDetails(format=DiskFormat.RAW, virtual_size=size)


class _Entry:
    """The files of one KEY; all methods except :meth:`read` need the lock of the KEY."""

    def __init__(self, directory: Path, key: str) -> None:
        self.path = directory / key
        self.note = directory / f"{key}.json"
        self.part = directory / "tmp" / f"{key}.part"
        self.converted = directory / "tmp" / f"{key}.qcow2"
        self.lock = directory / "locks" / key

    def read(self) -> CachedImage | None:
        """Return the image if the cache has it complete."""
        try:
            note = json.loads(self.note.read_bytes())
            if self.path.stat().st_size != note["bytes"]:
                return None
            return CachedImage(
                path=self.path,
                format=DiskFormat(note["format"]),
                virtual_size=note["virtual_size"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def publish(self, path: Path, details: ImageDetails, source: str) -> CachedImage:
        """Move a complete file to its place.

        :param source: the location of the image, without credentials.
        """
        note = dataclasses.asdict(details) | {"bytes": path.stat().st_size, "source": source}
        draft = self.part.with_name(self.note.name)
        draft.write_text(json.dumps(note))
        for file in (path, draft):
            file.chmod(0o644)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        path.replace(self.path)
        draft.replace(self.note)
        return CachedImage(path=self.path, **dataclasses.asdict(details))

    def describe(self) -> CacheEntry | None:
        """Return the image's row of the table of images; None if the image is gone."""
        found = self.read()
        if found is None:
            return None
        try:
            source = str(json.loads(self.note.read_bytes()).get("source", ""))
            used_at, size = self.note.stat().st_mtime, self.path.stat().st_blocks * 512
        except (OSError, ValueError):
            return None
        return CacheEntry(
            source=source,
            path=str(self.path),
            format=found.format,
            size_bytes=size,
            used_at=used_at,
        )

    def hold(self) -> bool:
        """Note a use of the image, and protect the image; tell whether the cache still has it.

        The protection ends with the innermost :meth:`ImageCache.holding` of this thread.
        """
        stack = _holds.get()
        if stack is None:
            return self.touch()
        return self._lock(stack, os.O_RDONLY, fcntl.LOCK_SH, wait=True) and self.touch()

    def lock_alone(self, stack: contextlib.ExitStack) -> bool:
        """Lock the image until *stack* ends; tell whether no other process had a lock."""
        # On NFS an exclusive lock needs a file that is open for writing.
        return self._lock(stack, os.O_RDWR, fcntl.LOCK_EX, wait=False)

    def _lock(self, stack: contextlib.ExitStack, mode: int, kind: int, *, wait: bool) -> bool:
        try:
            descriptor = os.open(self.note, mode | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            try:
                run_blocking(fcntl.flock, descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                # At most one thread of a process waits here: a process that prunes has locked many
                # images, and may need a thread of eventlet's pool to end.
                with concurrency.within_process(str(self.path.parent)):
                    run_blocking(fcntl.flock, descriptor, kind)
            held = os.path.samestat(os.fstat(descriptor), os.stat(self.note))
        except (BlockingIOError, FileNotFoundError):
            held = False
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            stack.callback(os.close, descriptor)
        else:
            os.close(descriptor)
        return held

    def touch(self) -> bool:
        """Note a use of the image; tell whether the cache has it."""
        try:
            os.utime(self.note)
        except FileNotFoundError:
            return False
        except PermissionError:  # only the owner of a cache prunes it
            return True
        return True

    def is_linked(self) -> bool:
        """Tell whether a guest has a second name of the file."""
        return self.path.stat().st_nlink > 1

    def remove(self) -> None:
        """Remove the image, the note first: without its note a file is no image."""
        steps.announce("image chosen")
        self.forget()
        steps.announce("image forgotten")
        self.path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the note."""
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the temporary files."""
        for path in self._temporary():
            path.unlink(missing_ok=True)

    def remains(self) -> list[Path]:
        """Return the files that only a later fetch can use."""
        broken = [] if self.read() else [self.path, self.note]
        return [path for path in broken if path.exists()] + self._temporary()

    def _temporary(self) -> list[Path]:
        return sorted(self.part.parent.glob(f"{self.path.name}.*"))


def _verify(path: Path, image: Image) -> None:
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
