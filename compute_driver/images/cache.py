# SPDX-License-Identifier: Apache-2.0
"""Keeps one copy of each image for all guests of the host.

Layout of ``image_cache_path``, which QEMU must be able to pass, and nobody else to list::

    KEY         an image, complete, in a format that guests' disks can be based on
    KEY.json    what it is; a hit needs nothing else
    tmp/        what is being made, private to the driver
    locks/      one lock for each KEY that is being made

KEY is a digest of what tells the image from all others, so an image that changes at its location
is another one.  Both files of a KEY come into being by a rename, and only whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from oslo_config import cfg

from compute_driver import concurrency, exceptions, filesystem
from compute_driver.concurrency import run_blocking
from compute_driver.driver import Progress, no_progress
from compute_driver.guest import DiskFormat, Image
from compute_driver.images import sources, space
from compute_driver.images.inspect import ImageDetails, inspect
from compute_driver.storage import tools

#: Formats that guests' disks cannot be based on, by the names of QEMU's block drivers.
_CONVERTED = {
    DiskFormat.VMDK: "vmdk",
    DiskFormat.VDI: "vdi",
    DiskFormat.VHD: "vpc",
    DiskFormat.VHDX: "vhdx",
}

#: Exit status of "qemu-img check" for clusters that are merely wasted; qemu-img(1).
_ONLY_LEAKS = 3

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
        return self._cached("disk", image, progress, self._prepare_disk)

    def get_file(self, image: Image, progress: Progress = no_progress) -> Path:
        """Return the path of a kernel or a ramdisk, whose bytes are kept as they are.

        :raises ComputeDriverError: as :meth:`get`.
        """
        return self._cached("file", image, progress, _prepare_file).path

    def leftovers(self) -> list[Path]:
        """Return the files of fetches that ended early and that nobody is at work on."""
        return list(self._abandoned())

    def remove_leftovers(self) -> list[Path]:
        """Remove the files that :meth:`leftovers` returns, and return their paths."""
        removed = []
        for path in self._abandoned():
            path.unlink(missing_ok=True)
            removed.append(path)
        return removed

    def _cached(
        self, kind: str, image: Image, progress: Progress, prepare: _Preparation
    ) -> CachedImage:
        source = sources.find(image.location, self._conf)
        identity = source.identify(image.location)
        if identity is None:  # it may have changed: only a checksum tells that it has not
            identity = image.location if image.checksum else uuid.uuid4().hex
        told_apart = [kind, identity, image.checksum, image.format]
        key = hashlib.sha256(json.dumps(told_apart).encode()).hexdigest()
        entry = _Entry(self._directory, key)
        found = entry.read()
        if found is None:
            with space.writing(self._directory):
                filesystem.make_directory(self._directory, filesystem.PASSABLE)
                filesystem.make_directory(self._directory / "tmp", 0o700)
                with concurrency.lock(entry.lock):
                    found = entry.read() or self._make(entry, source, image, progress, prepare)
        return found

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
            return run_blocking(entry.publish, path, details)
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

    def publish(self, path: Path, details: ImageDetails) -> CachedImage:
        """Move a complete file to its place."""
        note = dataclasses.asdict(details) | {"bytes": path.stat().st_size}
        draft = self.part.with_name(self.note.name)
        draft.write_text(json.dumps(note))
        for file in (path, draft):
            file.chmod(0o644)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        path.replace(self.path)
        draft.replace(self.note)
        return CachedImage(path=self.path, **dataclasses.asdict(details))

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
