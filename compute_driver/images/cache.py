# SPDX-License-Identifier: Apache-2.0
"""Keeps one copy of each image for all guests of the host.

Layout of ``image_cache_path``, which QEMU must be able to pass, and nobody else to list::

    KEY         an image, complete, in a format that guests' disks can be based on
    KEY.json    what it is; a hit needs nothing else
    tmp/        what is being made, private to the driver
    locks/      one lock for each KEY that is being made

KEY is a digest of what tells the image from all others, so an image that changes at its location
is another one.  Both files of a KEY come into being by a rename, and only whole.

KEY.json is also what says when the image was last wanted, by its time of change, and who has it in
hand: whoever asked for an image within :meth:`ImageCache.holding` keeps a shared lock on it until
the disks are made of it, and what is removed is locked before.  A guest made of an image has its
path in the header of a disk, or is a further name of the file.
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

#: Formats that guests' disks cannot be based on, by the names of QEMU's block drivers.
_CONVERTED = {
    DiskFormat.VMDK: "vmdk",
    DiskFormat.VDI: "vdi",
    DiskFormat.VHD: "vpc",
    DiskFormat.VHDX: "vhdx",
}

#: Exit status of "qemu-img check" for clusters that are merely wasted; qemu-img(1).
_ONLY_LEAKS = 3

#: What keeps the images that were asked for from being removed.
_holds: contextvars.ContextVar[contextlib.ExitStack | None] = contextvars.ContextVar(
    "holds", default=None
)

_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CachedImage:
    """An image that is ready for use and never changes.

    :param path: an absolute path, readable by whoever knows it.
    :param format: qcow2, raw or iso.
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
        """Return a disk image, fetched, checked and converted if it is not here yet.

        :param progress: called while bytes come in.
        :raises ImageNotFound: if there is none at its location.
        :raises ImageFetchFailed: if not all of it could be had; the next call goes on from there
            if the source can.
        :raises ImageUnacceptable: if its bytes are not what they are said to be, or not safe.
        :raises NotEnoughSpace: if the cache's file system is full.
        :raises ToolFailed: if it could not be converted within the limits.
        """
        return self._cached("disk", image, progress, self._prepare_disk)[0]

    def get_file(self, image: Image, progress: Progress = no_progress) -> Path:
        """Return the path of a kernel or a ramdisk, whose bytes are kept as they are.

        :raises ComputeDriverError: as :meth:`get`.
        """
        return self._cached("file", image, progress, _prepare_file)[0].path

    def fetch(self, image: Image, progress: Progress = no_progress, *, boot: bool = False) -> bool:
        """Have an image in the cache, and tell whether it had to be fetched for that.

        :param boot: whether it is a kernel or a ramdisk, whose bytes are kept as they are.
        :raises InvalidParameter: if nobody could tell that it is the same the next time.
        :raises ComputeDriverError: as :meth:`get`.
        """
        identity = sources.find(image.location, self._conf).identify(image.location)
        if identity is None and image.checksum is None:
            accepted = "given with it: its source does not tell whether the image has changed"
            raise exceptions.InvalidParameter("checksum", None, accepted)
        if boot:
            return self._cached("file", image, progress, _prepare_file)[1]
        return self._cached("disk", image, progress, self._prepare_disk)[1]

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Keep the images that are asked for meanwhile, in this thread, from being removed."""
        with contextlib.ExitStack() as stack:
            token = _holds.set(stack)
            try:
                yield
            finally:
                _holds.reset(token)

    def entries(self) -> list[CacheEntry]:
        """Return what is in the cache and whole, the latest wanted first; not who uses it."""
        found = [entry.describe() for entry in self._whole()]
        return sorted(filter(None, found), key=lambda entry: entry.used_at, reverse=True)

    def prune(
        self, min_age: float, users: Callable[[], Mapping[Path, Collection[str]]]
    ) -> list[CacheEntry]:
        """Remove the images that have not been in use for so long, and return them.

        :param min_age: in seconds.
        :param users: returns the files that guests need; called once nobody can become a user of
            what may be removed.
        """
        oldest = time.time() - min_age
        removed = []
        with contextlib.ExitStack() as stack:
            locked = [entry for entry in self._whole() if entry.lock_alone(stack)]
            used = users() if locked else {}
            for entry in locked:
                # Nobody makes it anew while it is removed; who is about to keeps it.
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
        """Return the files of fetches that ended early and that nobody is at work on.

        :param used: files that guests need, be they whole or not.
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
        """Return the image, and whether it had to be fetched."""
        source = sources.find(image.location, self._conf)
        identity = source.identify(image.location)
        if identity is None:  # it may have changed: only a checksum tells that it has not
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
            if entry.hold():  # else it was removed meanwhile
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
            # What a cut file lacks would read as zeros.
            check = ["qemu-img", "check", "-q", "-f", "qcow2", str(entry.part)]
            self._qemu_img(check, name, accepted=(0, _ONLY_LEAKS))
        if driver is None:
            return entry.part, details
        progress(f"converting {sources.basename(image.location)}", 0, 0)
        # A killed driver's qemu-img may still hold QEMU's own lock on the file it writes.
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
        """Yield each file that is left over, while its lock is held."""
        names = {
            path.name.partition(".")[0]
            for directory in (".", "tmp", "locks")
            for path in (self._directory / directory).glob("*")
        }
        for key in sorted(filter(_KEY.fullmatch, names)):
            entry = _Entry(self._directory, key)
            # Taking and releasing a dead holder's lock removes its file as well.
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
    """The files of one KEY; all but :meth:`read` need its lock."""

    def __init__(self, directory: Path, key: str) -> None:
        self.path = directory / key
        self.note = directory / f"{key}.json"
        self.part = directory / "tmp" / f"{key}.part"
        self.converted = directory / "tmp" / f"{key}.qcow2"
        self.lock = directory / "locks" / key

    def read(self) -> CachedImage | None:
        """Return the image if it is here and whole."""
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

        :param source: where it came from, without credentials.
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
        """Return what is known of the image; None if it is not here any more."""
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
        """Note that the image is wanted, and keep it; tell whether it is still here.

        It is kept until the innermost :meth:`ImageCache.holding` of this thread ends.
        """
        stack = _holds.get()
        if stack is None:
            return self.touch()
        return self._lock(stack, os.O_RDONLY, fcntl.LOCK_SH, wait=True) and self.touch()

    def lock_alone(self, stack: contextlib.ExitStack) -> bool:
        """Let nobody else hold the image until *stack* ends; tell whether nobody did."""
        # Over NFS such a lock needs a file that is open for writing.
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
                # One native wait per process at most, whatever it is for: who removes images has
                # locked many, and may need eventlet's pool to come to an end.
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
        """Note that the image is in use now; tell whether it is here."""
        try:
            os.utime(self.note)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's cache, which only that user prunes
            return True
        return True

    def is_linked(self) -> bool:
        """Tell whether a guest has the file under a name of its own."""
        return self.path.stat().st_nlink > 1

    def remove(self) -> None:
        """Remove the image; what a sudden death leaves of it is no image."""
        steps.announce("image chosen")
        self.forget()
        steps.announce("image forgotten")
        self.path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the note, so that the image is none any more."""
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what is temporary."""
        for path in self._temporary():
            path.unlink(missing_ok=True)

    def remains(self) -> list[Path]:
        """Return the files that are of no use to anybody but a later fetch."""
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
            f"it has {algorithm}:{digest.hexdigest()}, expected {image.checksum}"
        )
