# SPDX-License-Identifier: Apache-2.0
"""A root file system of a release of Debian, and processes inside."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.guests import apt, cache
from tests.guests.errors import GuestBuildError
from tests.guests.tools import install_debian

LOG = logging.getLogger(__name__)

CHECKOUT = Path(__file__).parents[2]
ENTER = Path(__file__).with_name("enter")

#: Code names of the releases.
RELEASES = {"debian-12": "bookworm", "debian-13": "trixie"}

#: Directory of the copy of the checkout, in the root file system.
COPY = "src"

#: The set-up installs what these files say; another set-up begins with a minimal root file system.
RECIPE = ("bindep.txt", "tools/setup", "tests/releases/enter", "tests/releases/root.py")

#: The variable of the set-up that names lists of packages.
PROFILES = "BINDEP_PROFILES"

#: Names of the variables that commands get, or beginnings of such names.
PASSED = (PROFILES, "CI", "COMPUTE_DRIVER_TEST_", "PIP_", "REQUESTS_CA_BUNDLE", "SSL_CERT_", "TERM")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")

#: Directories that a killed run may have left something in.
_SCRATCH = ("tmp", "var/tmp")


@contextmanager
def ready(release: str) -> Iterator[Path]:
    """Lock a root file system with a new copy of the checkout; build it if the cache lacks it.

    :param release: a key of :data:`RELEASES`.
    :return: the top of the root file system.
    :raises GuestBuildError: the process is not root's, or the root file system cannot be built.
    """
    if os.geteuid() != 0:
        raise GuestBuildError("a root file system of another release needs root")
    folder = _built(release)
    with _locked(folder):
        top = folder / "root"
        for scratch in _SCRATCH:
            for path in (top / scratch).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        _copy_checkout(top / COPY)
        yield top


def run(top: Path, command: Sequence[str]) -> int:
    """Run a command in a root file system, and return its exit status.

    The command and all its descendants are in a mount namespace and a PID namespace of their own:
    they and their mounts end with the command, or with this process.

    :param top: of the root file system.
    :param command: runs as root at the top of the copy of the checkout.
    """
    die = ("setpriv", "--pdeathsig", "KILL")
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    arguments = [*die, *namespaces, str(ENTER), str(top), f"/{COPY}", *command]
    with subprocess.Popen(arguments, env=_environment(), stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        finally:
            process.kill()


def _built(release: str) -> Path:
    digest = hashlib.sha256()
    for name in RECIPE:
        digest.update((CHECKOUT / name).read_bytes())
    place = cache.default() / "releases"
    # A root file system with more packages would hide that a test needs one of them.
    name = "+".join([release, *os.environ.get(PROFILES, "").split()])
    folder = cache.kept(
        place,
        f"{name}-{digest.hexdigest()[:16]}",
        lambda made, scratch: _build(made / "root", release),
    )
    for other in place.glob(f"{name}-*"):
        if other != folder:
            _remove_unused(other)
    return folder


def _build(top: Path, release: str) -> None:
    LOG.info("building a root file system of %s", release)
    install_debian(RELEASES[release], top, apt.sites())
    _copy_checkout(top / COPY)
    LOG.info("setting it up")
    status = run(top, ["tools/setup"])
    if status != 0:
        raise GuestBuildError(f"tools/setup fails on a minimal {release} with status {status}")


def _copy_checkout(target: Path) -> None:
    """Copy the checkout, and keep what the set-up and tox have made of an earlier copy."""
    made = [".git", *(CHECKOUT / ".gitignore").read_text().replace("/\n", "\n").split()]
    ignored = shutil.ignore_patterns(*made)
    target.mkdir(exist_ok=True)
    kept = ignored(str(target), os.listdir(target))
    for path in target.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(CHECKOUT, target, ignore=ignored, dirs_exist_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("waiting for another run in %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unused(folder: Path) -> None:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder)


def _environment() -> dict[str, str]:
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED) or name.lower() in _PROXIES
    }
    own = {
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    return passed | own
