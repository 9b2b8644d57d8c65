# SPDX-License-Identifier: Apache-2.0
"""Exchanges all files of a guest for new files, keeps the old files, and can bring them back.

The names of directories in the guest's own directory tell how far an exchange has come.  Each step
renames one directory to the next name, and can be done again after the driver was killed:

==================  ==========================================================================
``resize.making``   the driver makes new files; the guest has not changed yet
``resize.made``     the new files are complete: from here on the guest is the new guest
``resize.keeping``  the driver moves the old files into this directory
``resize.kept``     all old files are here until a user confirms or reverts the exchange
``resize.undoing``  the old files come back: from here on the guest is the old guest
``resize.undone``   the new files are gone; the driver moves the old files to their place
``resize.dropped``  the old files, which nobody needs any more
==================  ==========================================================================

Disks outside the directory (:mod:`compute_driver.storage.home`) move along: first the disks, then
the directory of the step.  New disks wait ``inside`` ``resize.making``, and old disks ``inside``
``resize.kept``, whichever name the directory of the step has.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from compute_driver.storage import layout
from compute_driver.storage.home import Home
from compute_driver.system import steps
from compute_driver.system.filesystem import host_errors

MAKING = "resize.making"
MADE = "resize.made"
KEEPING = "resize.keeping"
KEPT = "resize.kept"
UNDOING = "resize.undoing"
UNDONE = "resize.undone"
DROPPED = "resize.dropped"

#: Name of an empty file among the kept files of a guest that was powered on.
POWERED_ON = "powered-on"

_NOTES = frozenset({layout.DESCRIPTION, POWERED_ON})


def commit(directory: Path) -> None:
    """Note that the new files are complete.

    :param directory: the guest's own directory.
    """
    _rename(directory / MAKING, directory / MADE)


def undo(directory: Path) -> None:
    """Note that the old files come back."""
    _rename(directory / KEPT, directory / UNDOING)


def drop(directory: Path) -> None:
    """Note that nobody needs the old files any more."""
    _rename(directory / KEPT, directory / DROPPED)


def forward(home: Home) -> None:
    """Move complete new files to the place of the guest's files, and keep the old files.

    Incomplete new files, and old files that nobody needs any more, go first: other disks take their
    places.
    """
    directory = home.directory
    made = directory / MADE
    with host_errors(f"the files of {directory} cannot be exchanged"):
        _clear(home)
        if not made.exists():
            return
        if not (directory / KEPT).exists():
            keeping = directory / KEEPING
            keeping.mkdir(0o700, exist_ok=True)
            home.move(directory, directory / KEPT)
            notes = filter(Path.exists, (made / name for name in _NOTES))
            for path in (*_files(directory), *notes):
                path.rename(keeping / path.name)
            keeping.rename(directory / KEPT)
        home.move(directory / MAKING, directory)
        for path in list(made.iterdir()):
            path.rename(directory / path.name)
        steps.announce("new files moved")
        made.rmdir()


def backward(home: Home) -> None:
    """Move the old files back to their place, if :func:`undo` has noted so."""
    directory = home.directory
    with host_errors(f"the files of {directory} cannot be exchanged"):
        if (directory / UNDOING).exists():
            home.remove(directory)
            for path in _files(directory):
                path.unlink()
            (directory / UNDOING).rename(directory / UNDONE)
        undone = directory / UNDONE
        if undone.exists():
            home.move(directory / KEPT, directory)
            for path in [path for path in undone.iterdir() if path.name not in _NOTES]:
                path.rename(directory / path.name)
            steps.announce("old files moved")
            shutil.rmtree(undone)


def _files(directory: Path) -> list[Path]:
    """Return the files that make the guest, without its console log, which stays in its place."""
    return [
        path
        for path in directory.iterdir()
        if path.is_file() and not path.name.startswith((layout.CONSOLE_LOG, "."))
    ]


def _clear(home: Home) -> None:
    """Remove incomplete new files, and old files that nobody needs any more."""
    for name, waiting in ((MAKING, MAKING), (DROPPED, KEPT)):
        if (home.directory / name).exists():
            home.remove(home.directory / waiting)
            shutil.rmtree(home.directory / name)


def _rename(old: Path, new: Path) -> None:
    with host_errors(f"{old} cannot become {new.name}"):
        old.rename(new)
