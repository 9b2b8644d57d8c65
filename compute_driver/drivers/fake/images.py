# SPDX-License-Identifier: Apache-2.0
"""A cache of images that holds the names of images only."""

from __future__ import annotations

import time
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState, Quiesce, SnapshotFormat
from compute_driver.contract.states import Request
from compute_driver.driver import Progress, no_progress
from compute_driver.drivers.fake.machine import Machines
from compute_driver.guest import Image
from compute_driver.info import CacheEntry
from compute_driver.system import files


class Images(Machines):
    """Keeps the names of images."""

    def image_list(self) -> tuple[CacheEntry, ...]:
        with self._guard:
            entries = [self._entry(image) for image in self._images]
        return tuple(sorted(entries, key=lambda entry: entry.used_at, reverse=True))

    def image_cache(
        self, image: Image, *, boot: bool = False, progress: Progress = no_progress
    ) -> bool:
        size = size_bytes(image.location)
        with self._guard:
            fetched = image not in self._images
            self._images[image] = time.time(), size
        if fetched:
            progress(image.location, size, size)
        return fetched

    def image_prune(self, *, unused: float | None = None) -> tuple[CacheEntry, ...]:
        age = self.conf.hypervisor.image_unused_seconds if unused is None else unused
        with self._guard:
            cached = [(image, self._entry(image)) for image in self._images]
            removed = [
                (image, entry)
                for image, entry in cached
                if not entry.guests and entry.used_at <= time.time() - age
            ]
            for image, _entry in removed:
                del self._images[image]
        return tuple(entry for _image, entry in removed)

    def _entry(self, image: Image) -> CacheEntry:
        used_at, size = self._images[image]
        users = [m.guest.uuid for m in self._machines.values() if m.guest.image == image]
        return CacheEntry(
            source=image.location,
            path=image.location,
            format=image.format or DiskFormat.RAW,
            size_bytes=size,
            used_at=used_at,
            guests=tuple(sorted(users)),
        )

    def snapshot(
        self,
        uuid: str,
        target: Path,
        *,
        image_format: SnapshotFormat | None = None,
        quiesce: Quiesce = Quiesce.TRY,
        progress: Progress = no_progress,
    ) -> None:
        if target.exists() or not target.parent.is_dir():
            accepted = "a new file in a directory that exists"
            raise exceptions.InvalidParameter("target", str(target), accepted)
        with self._machine(uuid) as machine, files.new_file(target) as new:
            if quiesce is Quiesce.REQUIRE:
                machine.require(Request.QUIESCE_FOR_SNAPSHOT)
                if machine.state is PowerState.RUNNING:
                    machine.require_agent(Request.QUIESCE)
            new.write_text(f"{image_format or SnapshotFormat.of(target)} of {machine.guest.name}\n")


def size_bytes(location: str) -> int:
    """Return the size of an image's file; 0 for a URL.

    :raises ImageNotFound: if there is no file.
    """
    if "://" in location:
        return 0
    try:
        return Path(location).stat().st_size
    except OSError as error:
        raise exceptions.ImageNotFound(f"no image at {location!r}: {error.strerror}") from error
