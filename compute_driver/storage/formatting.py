# SPDX-License-Identifier: Apache-2.0
"""The file systems of ephemeral disks, and the programs that make them.

Sources: mke2fs(8), mkfs.xfs(8), mkfs.fat(8), mkntfs(8).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compute_driver.choices import FileSystem
from compute_driver.guest import Guest
from compute_driver.system import tools


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Program:
    """How one program makes a file system in a file.

    :param options: options before the label.  The file is all zeros: the programs that would write
        zeros are told not to, as this would only fill the host.
    :param label: the option of the label.
    :param capitals: whether the label is in capital letters.
    """

    options: tuple[str, ...]
    label: str = "-L"
    capitals: bool = False


_JOURNALED = ("-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1")
_PROGRAMS: Mapping[FileSystem, _Program] = {
    FileSystem.EXT2: _Program(options=("-q", "-F", "-E", "lazy_itable_init=1")),
    FileSystem.EXT3: _Program(options=_JOURNALED),
    FileSystem.EXT4: _Program(options=_JOURNALED),
    FileSystem.XFS: _Program(options=("-q", "-f")),
    # mkfs.fat warns about small letters, which some systems cannot read.
    FileSystem.VFAT: _Program(options=(), label="-n", capitals=True),
    # A file is no disk: the option -F accepts the file.
    FileSystem.NTFS: _Program(options=("-Q", "-F", "-q")),
}


def command(filesystem: FileSystem, label: str) -> list[str]:
    """Return the program and the options that make a file system; the path comes last.

    :param label: the file system's label.
    """
    program = _PROGRAMS[filesystem]
    text = label.upper() if program.capitals else label
    return [_name(filesystem), *program.options, program.label, text]


def check(guest: Guest) -> None:
    """Refuse a guest whose ephemeral disks this host cannot format.

    :raises MissingDependency: if the host lacks the program; names the Debian package.
    """
    for disk in guest.ephemerals:
        tools.require_program(_name(disk.filesystem or FileSystem.EXT4))


def _name(filesystem: FileSystem) -> str:
    return f"mkfs.{filesystem}"
