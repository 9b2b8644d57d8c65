# SPDX-License-Identifier: Apache-2.0
"""Exchanges all files of a guest for others, and keeps the old ones; or brings those back.

The guest's own directory says how far an exchange has come, by the names of directories in it.
Each step leads from one name to the next by a rename, and can be done again after a sudden death:

==================  ==========================================================================
``resize.making``   new files are being made; nothing has changed yet
``resize.made``     they are complete: from here on the guest is the new one
``resize.keeping``  the old files are moved there
``resize.kept``     all old files are there, until the exchange is confirmed or reverted
``resize.undoing``  those are to come back: from here on the guest is the old one
``resize.undone``   the new files are gone; the old ones are moved to where they were
``resize.dropped``  what was kept, not wanted any more
==================  ==========================================================================
"""

from __future__ import annotations

import shutil
from pathlib import Path

from compute_driver.storage import layout
from compute_driver.system import steps
from compute_driver.system.filesystem import host_errors

MAKING = "resize.making"
MADE = "resize.made"
KEEPING = "resize.keeping"
KEPT = "resize.kept"
UNDOING = "resize.undoing"
UNDONE = "resize.undone"
DROPPED = "resize.dropped"

#: There if the guest was powered on.
POWERED_ON = "powered-on"

_NOTES = frozenset({layout.DESCRIPTION, POWERED_ON})


def commit(directory: Path) -> None:
    """Say that the new files are complete.

    :param directory: the guest's own.
    """
    _rename(directory / MAKING, directory / MADE)


def undo(directory: Path) -> None:
    """Say that the old files are to come back."""
    _rename(directory / KEPT, directory / UNDOING)


def drop(directory: Path) -> None:
    """Say that the old files are not wanted any more."""
    _rename(directory / KEPT, directory / DROPPED)


def forward(directory: Path) -> None:
    """Put new files that are complete where the guest has its files, and keep the old ones."""
    made = directory / MADE
    if not made.exists():
        return
    with host_errors(f"the files of {directory} cannot be exchanged"):
        if not (directory / KEPT).exists():
            keeping = directory / KEEPING
            keeping.mkdir(0o700, exist_ok=True)
            for path in _files(directory):
                path.rename(keeping / path.name)
            for name in _NOTES:
                if (made / name).exists():
                    (made / name).rename(keeping / name)
            keeping.rename(directory / KEPT)
        for path in list(made.iterdir()):
            path.rename(directory / path.name)
        steps.announce("new files moved")
        made.rmdir()


def backward(directory: Path) -> None:
    """Put the old files back where they were, if that has been said."""
    with host_errors(f"the files of {directory} cannot be exchanged"):
        if (directory / UNDOING).exists():
            for path in _files(directory):
                path.unlink()
            (directory / UNDOING).rename(directory / UNDONE)
        undone = directory / UNDONE
        if undone.exists():
            for path in list(undone.iterdir()):
                if path.name not in _NOTES:
                    path.rename(directory / path.name)
            steps.announce("old files moved")
            shutil.rmtree(undone)


def clear(directory: Path) -> None:
    """Remove new files that were not completed, and old ones that are not wanted any more."""
    with host_errors(f"{directory} cannot be cleared"):
        for name in (MAKING, DROPPED):
            if (directory / name).exists():
                shutil.rmtree(directory / name)


def _files(directory: Path) -> list[Path]:
    """Return the files that make the guest; what it said on its console goes on."""
    return [
        path
        for path in directory.iterdir()
        if path.is_file() and not path.name.startswith((layout.CONSOLE_LOG, "."))
    ]


def _rename(old: Path, new: Path) -> None:
    with host_errors(f"{old} cannot become {new.name}"):
        old.rename(new)
