# SPDX-License-Identifier: Apache-2.0
"""The folder where what was built is kept, shared by processes and users."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def default() -> Path:
    """``$COMPUTE_DRIVER_GUEST_CACHE``, or ``compute-driver-guests`` in the user's own cache."""
    given = os.environ.get("COMPUTE_DRIVER_GUEST_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "compute-driver-guests"


def kept(root: Path, name: str, make: Callable[[Path, Path], None]) -> Path:
    """Returns a folder of the cache, made now unless it is there; it is there whole or not.

    :param root: the cache
    :param name: of the folder; changes with all that it is made from
    :param make: fills the folder (its first argument), with another for what it needs meanwhile
    """
    target = root / name
    if target.exists():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root):
        if not target.exists():
            _make_aside(target, make)
    return target


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """One build at a time in a cache, whichever process it runs in."""
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_aside(target: Path, make: Callable[[Path, Path], None]) -> None:
    # What a killed build has left; nobody else builds while the lock is held.
    for leftover in target.parent.glob(".building-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        make(made, Path(scratch))
        for path in made.iterdir():
            path.chmod(0o644)
        made.chmod(0o755)
        made.rename(target)
