# SPDX-License-Identifier: Apache-2.0
"""Runs Python code of the project as an ordinary user who may not read the checkout.

The package is copied to a world-readable folder, with the installed libraries if the user cannot
read them. The copies are removed when the test process ends.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import compute_driver

NOBODY = 65534
PACKAGE = Path(compute_driver.__file__).parent
NOT_NEEDED = ("__pycache__", "pip", "setuptools", "mypy", "mypyc", "*__mypyc*", "ruff*")


def _as(uid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


def _may(uid: int, test: str, path: Path) -> bool:
    command = [*_as(uid), "test", test, str(path)]
    return subprocess.run(command, check=False).returncode == 0


@functools.cache
def python(uid: int = NOBODY) -> str:
    """Return the path of an interpreter that the user may run, of the libraries' Python version."""
    version = f"python3.{sys.version_info.minor}"
    for candidate in (Path("/usr/bin", version), Path(sys.executable).resolve()):
        if candidate.exists() and _may(uid, "-x", candidate):
            return str(candidate)
    raise unittest.SkipTest(f"user ID {uid} can run no {version}")


@functools.cache
def import_path(uid: int = NOBODY) -> str:
    """Return a ``PYTHONPATH`` by which the user can import the project and its libraries."""
    place = Path(tempfile.mkdtemp(prefix="readable-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    ignore = shutil.ignore_patterns(*NOT_NEEDED)
    shutil.copytree(PACKAGE, place / PACKAGE.name, ignore=ignore)
    for metadata in PACKAGE.parent.glob("compute_driver.egg-info"):
        shutil.copytree(metadata, place / metadata.name)
    entries = [place]
    for libraries in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        if _may(uid, "-r", Path(libraries)):
            entries.append(Path(libraries))
        else:
            shutil.copytree(libraries, place, ignore=ignore, dirs_exist_ok=True)
    for path in place.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return os.pathsep.join(map(str, entries))


@contextmanager
def home_directory(uid: int = NOBODY) -> Iterator[Path]:
    """Make a home directory for the time of the block, which only the user can enter."""
    with tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True) as name:
        os.chown(name, uid, uid)
        yield Path(name)


def as_ordinary_user(
    argv: Sequence[str],
    *,
    home: Path,
    uid: int = NOBODY,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run the Python interpreter as an ordinary user and capture its output.

    :param argv: the interpreter's arguments: ``["-m", "compute_driver.cmd.main", "list"]``.
    :param home: the user's home directory and working directory.
    :param uid: user ID and group ID; the process has no other groups.
    :param environment: variables besides ``HOME``, ``PATH`` and ``PYTHONPATH``.
    :param timeout: seconds that the interpreter may take.
    :raises unittest.SkipTest: the tests do not run as root, or no interpreter fits.
    """
    command = ordinary_command(argv, uid=uid)
    return subprocess.run(
        command,
        cwd=home,
        env=ordinary_environment(home, uid=uid) | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ordinary_command(argv: Sequence[str], *, uid: int = NOBODY) -> list[str]:
    """Return the whole command line that :func:`as_ordinary_user` runs."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can become another user")
    return [*_as(uid), python(uid), *argv]


def ordinary_environment(home: Path, *, uid: int = NOBODY) -> dict[str, str]:
    """Return the whole environment that :func:`as_ordinary_user` gives."""
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": import_path(uid),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
