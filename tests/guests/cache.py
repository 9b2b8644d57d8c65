# SPDX-License-Identifier: Apache-2.0
"""The folder of everything built, which processes and users share."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def default() -> Path:
    """Return ``$COMPUTE_DRIVER_GUEST_CACHE``, or a folder below the user's own cache."""
    given = os.environ.get("COMPUTE_DRIVER_GUEST_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "compute-driver-guests"


def digest(packages: Iterable[str]) -> str:
    """Return a digest of the builder's own files and of packages.

    :param packages: names with versions
    """
    made = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            made.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    for package in packages:
        made.update(f"{package}\0".encode())
    return made.hexdigest()[:16]


def kept(root: Path, name: str, make: Callable[[Path, Path], None]) -> Path:
    """Return a folder of the cache, and make the folder if the cache lacks it, whole or not at all.

    :param root: the cache
    :param name: of the folder; a different name for every different content
    :param make: fills the folder, its first argument; the second one is a scratch folder
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
    """Allow one build at a time in a cache, over all processes."""
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_aside(target: Path, make: Callable[[Path, Path], None]) -> None:
    # Only a killed build leaves such folders: this process holds the lock of all builds.
    for leftover in target.parent.glob(".building-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        make(made, Path(scratch))
        for path in made.iterdir():
            if not path.is_dir():
                path.chmod(0o644)
        made.chmod(0o755)
        made.rename(target)
