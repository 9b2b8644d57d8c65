# SPDX-License-Identifier: Apache-2.0
"""A kind of disk for tests: a pool outside the guests' directories, with names such as UUID_root.

All that takes a disk for a file in its guest's directory fails with this kind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import unittest
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from oslo_config import cfg

from compute_driver.choices import DiskFormat
from compute_driver.storage import disks, file_disks
from compute_driver.storage.base_image import BaseImage
from compute_driver.storage.layout import GuestDisk
from compute_driver.storage.source import FileSource
from compute_driver.system.tools import ToolLimits
from compute_driver.xml import source as source_xml
from compute_driver.xml.elements import E

#: The environment variable by which another process of a test uses the same pool.
VARIABLE = "COMPUTE_DRIVER_TEST_POOL"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolSource:
    """A disk in a pool.

    :param pool: the directory that plays the pool.
    :param guest: the guest's UUID.
    :param name: ``root`` or ``rescue-system``, for example.
    :param waiting: the name of the place where the disk waits; empty for a disk that is used.
    """

    pool: Path
    guest: str
    name: str
    waiting: str = ""
    format: DiskFormat = DiskFormat.QCOW2

    @property
    def image(self) -> str:
        return ".".join(filter(None, (f"{self.guest}_{self.name}", self.waiting)))

    @property
    def address(self) -> str:
        return str(self.file.path)

    @property
    def file(self) -> FileSource:
        return FileSource(path=self.pool / self.image, format=self.format)

    def inside(self, directory: Path) -> PoolSource:
        waiting = "" if directory.name == self.guest else directory.name
        return dataclasses.replace(self, waiting=waiting)


class PoolDisks:
    """Disks of one pool."""

    def __init__(self, pool: Path) -> None:
        self.pool = pool

    def candidates(
        self, _conf: cfg.ConfigOpts, directory: Path, name: str, wanted: DiskFormat | None
    ) -> list[PoolSource]:
        form = DiskFormat.QCOW2 if wanted is None else DiskFormat.RAW
        return [PoolSource(pool=self.pool, guest=directory.name, name=name, format=form)]

    def outside(self, _conf: cfg.ConfigOpts, directory: Path) -> list[PoolSource]:
        return [self.named(path.name) for path in sorted(self.pool.glob(f"{directory.name}_*"))]

    def named(self, image: str) -> PoolSource:
        name, _dot, waiting = image.partition(".")
        guest, _line, name = name.partition("_")
        return PoolSource(pool=self.pool, guest=guest, name=name, waiting=waiting)

    def make(
        self,
        source: PoolSource,
        disk: GuestDisk,
        image: BaseImage | None,
        limits: ToolLimits,
        *,
        allocate: bool = False,
    ) -> None:
        file_disks.make(source.file, disk, image, limits, allocate=allocate)

    def filling(self, source: PoolSource) -> contextlib.AbstractContextManager[Path]:
        return file_disks.filling(source.file)

    def place(self, source: PoolSource, target: PoolSource) -> None:
        file_disks.place(source.file, target.file)

    def clone(self, source: PoolSource, target: PoolSource, limits: ToolLimits) -> None:
        file_disks.clone(source.file, target.file, limits)

    def grow(self, source: PoolSource, size: int, limits: ToolLimits) -> None:
        file_disks.grow(source.file, size, limits)

    def allocate(self, source: PoolSource, size: int, limits: ToolLimits) -> None:
        file_disks.allocate(source.file, size, limits)

    def move(self, source: PoolSource, target: PoolSource) -> None:
        assert not target.file.path.exists(), target
        file_disks.move(source.file, target.file)

    def remove(self, source: PoolSource) -> None:
        file_disks.remove(source.file)

    def exists(self, source: PoolSource) -> bool:
        return file_disks.exists(source.file)

    def allocated(self, source: PoolSource) -> int:
        return file_disks.allocated(source.file)

    def require_room(self, _directory: Path, sources: Sequence[PoolSource]) -> None:
        file_disks.require_room(self.pool, [source.file for source in sources])

    def bases(self, source: PoolSource) -> list[Path]:
        return file_disks.bases(source.file)

    def unstated(self, source: PoolSource) -> str | None:
        return file_disks.unstated(source.file)


@contextlib.contextmanager
def used(pool: Path) -> Iterator[None]:
    """Make all new disks of all guests in a pool."""
    ours = {PoolSource: PoolDisks(pool), **disks.KINDS}
    row = ("file", lambda source: E.source(file=source.address))
    with (
        mock.patch.dict(os.environ, {VARIABLE: str(pool)}),
        mock.patch.object(disks, "KINDS", ours),
        mock.patch.dict(source_xml._KINDS, {PoolSource: row}),
    ):
        yield


def use(case: unittest.TestCase, pool: Path) -> None:
    """Make all new disks of a test's guests in a pool."""
    context = contextlib.ExitStack()  # TestCase.enterContext came with Python 3.11
    context.enter_context(used(pool))
    case.addCleanup(context.close)


def inherited() -> contextlib.AbstractContextManager[None]:
    """Use the pool of the test that has started this process, if the test has one."""
    pool = os.environ.get(VARIABLE)
    return used(Path(pool)) if pool else contextlib.nullcontext()
