# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a disk are.

A new kind of source is a frozen dataclass here and a member of :data:`Source`; a row in
:mod:`compute_driver.storage.disks` says how the kind is made and copied, and a row in
:mod:`compute_driver.xml.source` says how libvirt writes it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compute_driver.choices import DiskFormat


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSource:
    """A file on this host.

    :param path: the file, absolute.
    :param format: ``qcow2`` or ``raw``.
    """

    path: Path
    format: DiskFormat

    @property
    def address(self) -> str:
        """The name by which QEMU's programs open the disk."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The name of the file without its suffix: ``root`` or ``rescue-system``, for example."""
        return self.path.stem

    def inside(self, directory: Path) -> FileSource:
        """Return the file of the same name and format in another directory."""
        return dataclasses.replace(self, path=directory / self.path.name)


#: Every kind of source has a ``format``, an ``address``, a ``name`` and the method ``inside``.  Of
#: a disk outside the guest's directory, ``inside`` only changes the address: its argument is the
#: guest's directory, or the place in it where disks wait while files are exchanged (see
#: :mod:`compute_driver.storage.exchange`).
Source = FileSource
