# SPDX-License-Identifier: Apache-2.0
"""All disks of one guest, of every kind: in the guest's directory and outside.

The directory comes before the disks and goes after the disks: the directory's name leads to the
disks outside, even if the guest's description is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import is_uuid
from compute_driver.storage import disks, overlay
from compute_driver.storage.source import Source

#: Names of guests' directories begin with a UUID; nova's own driver adds to it.
_UUID_LENGTH = 36


def is_directory_name(name: str) -> bool:
    """Tell whether a directory may be a guest's; others are lost+found, for example."""
    return is_uuid(name[:_UUID_LENGTH])


@dataclasses.dataclass(frozen=True)
class Home:
    """The places of one guest's disks.

    :param conf: configuration with group ``[hypervisor]``.
    :param directory: the guest's own directory, whose name is the guest's UUID.
    """

    conf: cfg.ConfigOpts
    directory: Path

    def locate(self, name: str, wanted: DiskFormat | None = None) -> Source:
        """Return where a disk is, or will be if the disk is not made yet.

        A changed option holds for new disks only.  For the parameters see :meth:`Kind.candidates`.
        """
        sources: list[Source] = [
            source
            for kind in disks.KINDS.values()
            for source in kind.candidates(self.conf, self.directory, name, wanted)
        ]
        made = (source for source in sources if disks.kind(source).exists(source))
        return next(made, sources[0])

    def outside(self, place: Path | None = None) -> list[Source]:
        """Return the disks that are not in the directory.

        :param place: the directory, or the name in it where the disks wait; None for all disks.
        """
        return [
            source
            for kind in disks.KINDS.values()
            for source in kind.outside(self.conf, self.directory)
            if place is None or source == source.inside(place)
        ]

    def move(self, origin: Path, target: Path) -> None:
        """Move the disks outside the directory from one place to another; see :meth:`outside`."""
        for source in self.outside(origin):
            disks.kind(source).move(source, source.inside(target))

    def remove(self, place: Path | None = None) -> None:
        """Remove the disks outside the directory; see :meth:`outside`."""
        for source in self.outside(place):
            disks.kind(source).remove(source)

    def require_room(self, sources: Iterable[Source]) -> None:
        """Refuse copies of disks of the guest that the storage has no space for.

        :raises NotEnoughSpace: names the bytes that are needed and free.
        """
        listed = list(sources)
        for source_type, kind in disks.KINDS.items():
            own = [source for source in listed if isinstance(source, source_type)]
            kind.require_room(self.directory, own)

    def bases(self, unreadable: dict[Path, exceptions.HostError]) -> Iterator[tuple[Path, Path]]:
        """Yield the address of every disk that is an overlay, with each of its backing files.

        Disks that vanish meanwhile are left out.

        :param unreadable: receives the disks and directories that cannot be read, and the reasons.
        """
        yield from overlay.bases(self.directory, unreadable)
        for source in self.outside():
            address = Path(source.address)
            try:
                yield from ((address, base) for base in disks.kind(source).bases(source))
            except FileNotFoundError:
                continue
            except exceptions.HostError as error:
                unreadable[address] = error
