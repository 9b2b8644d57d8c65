# SPDX-License-Identifier: Apache-2.0
"""Builds a guest once and keeps it in a cache shared by processes and users."""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

from tests.guests import bootable, initrd, modules, packages
from tests.guests.catalog import (
    ARCHITECTURES,
    BUSYBOX,
    FLAVOURS,
    KERNEL_OPTIONS,
    Architecture,
    Flavour,
)
from tests.guests.errors import GuestBuildError
from tests.guests.packages import Package

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class GuestImages:
    """A guest in all its forms.

    ``disk`` (qcow2, a whole disk) and ``iso`` boot with BIOS and with UEFI; they are ``None``
    where the architecture has only the kernel and initrd.
    """

    kernel: Path
    initrd: Path
    disk: Path | None
    iso: Path | None
    console: str
    cmdline: str


def build(
    flavour: str = "basic", arch: str = "x86_64", cache: str | os.PathLike[str] | None = None
) -> GuestImages:
    """Returns a guest's images, building them unless the cache has them.

    :param flavour: a key of ``FLAVOURS``
    :param arch: a key of ``ARCHITECTURES``
    :param cache: folder to keep images and packages in; by default that of
        ``$COMPUTE_DRIVER_GUEST_CACHE``, or ``compute-driver-guests`` in the user's own cache
    :raises: GuestBuildError
    """
    _check("flavour", flavour, FLAVOURS)
    _check("architecture", arch, ARCHITECTURES)
    root = Path(cache) if cache else _default_cache()
    recipe = _recipe(flavour, arch)
    target = root / f"{flavour}-{arch}-{recipe.digest()}"
    if not target.exists():
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root):
            if not target.exists():
                LOG.info("building guest %s for %s", flavour, arch)
                _build_into(target, recipe)
    return _images(target, recipe.architecture)


def _check(what: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise GuestBuildError(f"unknown {what} {value!r}: use one of {', '.join(known)}")


def _default_cache() -> Path:
    given = os.environ.get("COMPUTE_DRIVER_GUEST_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "compute-driver-guests"


@dataclass(frozen=True)
class _Recipe:
    """A flavour for an architecture, and the packages that apt offers for it."""

    flavour: Flavour
    architecture: Architecture
    packages: Mapping[str, Package]

    @property
    def kernel(self) -> Package:
        """The kernel's package."""
        return packages.kernel_image(self.packages[self.architecture.kernels[self.flavour.kernel]])

    def digest(self) -> str:
        """Changes with the builder's own files and with the packages' versions."""
        digest = hashlib.sha256()
        folder = Path(__file__).parent
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
        for package in sorted(self.packages.values(), key=lambda package: package.name):
            digest.update(f"{package.file_name}\0".encode())
        return digest.hexdigest()[:16]


@memoize
def _recipe(flavour: str, arch: str) -> _Recipe:
    """Asks apt once per process: it may take a second."""
    architecture = ARCHITECTURES[arch]
    names = [
        architecture.kernels[FLAVOURS[flavour].kernel],
        BUSYBOX,
        *architecture.boot_loaders,
        *FLAVOURS[flavour].files,
    ]
    found = packages.candidates(names, architecture.debian)
    return _Recipe(FLAVOURS[flavour], architecture, found)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """One build at a time in a cache, whichever process it runs in."""
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_into(target: Path, recipe: _Recipe) -> None:
    """Makes the images aside and moves them into place, so that they are there whole or not."""
    # What a killed build has left; nobody else builds while the lock is held.
    for leftover in target.parent.glob(".building-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
        made = Path(scratch, "images")
        made.mkdir()
        _make(_images(made, recipe.architecture), recipe, Path(scratch))
        for path in made.iterdir():
            path.chmod(0o644)
        made.chmod(0o755)
        made.rename(target)


def _make(images: GuestImages, recipe: _Recipe, scratch: Path) -> None:
    def unpacked(package: Package, folder: Path = scratch) -> Path:
        LOG.info("  unpacking %s %s", package.name, package.version)
        return packages.unpack(packages.fetch(package, scratch.parent / "packages"), folder)

    kernel = unpacked(recipe.kernel)
    tree = initrd.userland(unpacked(recipe.packages[BUSYBOX]))
    tree |= modules.modules(kernel, recipe.flavour.modules)
    for name, patterns in recipe.flavour.files.items():
        tree |= initrd.files(unpacked(recipe.packages[name]), patterns)
    (image,) = (kernel / "boot").glob("vmlinu*")
    shutil.copyfile(image, images.kernel)
    LOG.info("  making the initrd")
    images.initrd.write_bytes(initrd.archive(tree))
    if images.disk and images.iso:
        loaders = scratch / "loaders"
        for name in recipe.architecture.boot_loaders:
            unpacked(recipe.packages[name], loaders)
        payload = bootable.Payload(images.kernel, images.initrd, images.cmdline, loaders)
        LOG.info("  making the disk image")
        bootable.disk(payload, images.disk, scratch)
        LOG.info("  making the ISO image")
        bootable.iso(payload, images.iso, scratch)


def _images(folder: Path, architecture: Architecture) -> GuestImages:
    boots_alone = bool(architecture.boot_loaders)
    return GuestImages(
        kernel=folder / "vmlinuz",
        initrd=folder / "initrd",
        disk=folder / "disk.qcow2" if boots_alone else None,
        iso=folder / "boot.iso" if boots_alone else None,
        console=architecture.console,
        cmdline=f"console=tty0 console={architecture.console} {KERNEL_OPTIONS}",
    )
