# SPDX-License-Identifier: Apache-2.0
"""Builds a guest once and keeps it in a cache shared by processes and users."""

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

from tests.guests import bootable, initrd, modules, packages
from tests.guests import cache as caches
from tests.guests.apt import Apt
from tests.guests.catalog import (
    ARCHITECTURES,
    BUSYBOX,
    FLAVOURS,
    KERNEL_OPTIONS,
    Architecture,
    Flavour,
)
from tests.guests.errors import GuestBuildError
from tests.guests.loaders import Uefi
from tests.guests.packages import Package

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class GuestImages:
    """A guest in all its forms.

    ``disk`` (qcow2, a whole disk) and ``iso`` boot with every firmware that the architecture has a
    boot loader for. Both are ``None`` for an architecture without boot loaders.
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
    """Return a guest's images; build the images that the cache lacks.

    :param flavour: a key of ``FLAVOURS``
    :param arch: a key of ``ARCHITECTURES``
    :param cache: folder to keep images and packages in; by default that of
        ``$COMPUTE_DRIVER_GUEST_CACHE``, or ``compute-driver-guests`` in the user's own cache
    :raises: GuestBuildError
    """
    _check("flavour", flavour, FLAVOURS)
    _check("architecture", arch, ARCHITECTURES)
    root = Path(cache) if cache else caches.default()
    recipe = _recipe(flavour, arch, root)

    def make(folder: Path, scratch: Path) -> None:
        LOG.info("building guest %s for %s", flavour, arch)
        _make(_images(folder, recipe), recipe, scratch, root / "packages")

    target = caches.kept(root, f"{flavour}-{arch}-{recipe.digest()}", make)
    return _images(target, recipe)


def _check(what: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise GuestBuildError(f"unknown {what} {value!r}: use one of {', '.join(known)}")


@dataclass(frozen=True)
class _Recipe:
    """A flavour for an architecture, and the packages that apt offers for it."""

    flavour: Flavour
    architecture: Architecture
    kernel: Package
    packages: Mapping[str, Package]
    uefi: Uefi | None
    loaders: Mapping[str, Package]

    def digest(self) -> str:
        """Return a digest of the recipe with the packages' versions."""
        chosen = (self.kernel, *self.packages.values(), *self.loaders.values())
        return caches.digest(package.file_name for package in chosen)


@memoize
def _recipe(flavour_name: str, arch: str, root: Path) -> _Recipe:
    """Return a recipe; ask apt once per process, as each query takes part of a second."""
    flavour, architecture = FLAVOURS[flavour_name], ARCHITECTURES[arch]
    if flavour.secure_boot and not architecture.secure_boot:
        raise GuestBuildError(f"no signed boot loader for {arch}: choose another flavour")
    kernel = (flavour.cloud and architecture.cloud_kernel) or architecture.kernel
    own = Apt(root / "apt", architecture.debian, architecture.suites)
    offered = packages.candidates([kernel, BUSYBOX, *flavour.files], own)
    uefi = architecture.secure_boot if flavour.secure_boot else architecture.uefi
    loaders = [name for loader in (architecture.bios, uefi) if loader for name in loader.packages]
    loader_apt = Apt(own.states, architecture.loaders, own.suites) if architecture.loaders else own
    return _Recipe(
        flavour=flavour,
        architecture=architecture,
        kernel=packages.kernel_image(offered.pop(kernel)),
        packages=offered,
        uefi=uefi,
        loaders=packages.candidates(loaders, loader_apt) if loaders else {},
    )


def _make(images: GuestImages, recipe: _Recipe, scratch: Path, debs: Path) -> None:
    def unpacked(package: Package, folder: Path = scratch) -> Path:
        LOG.info("  unpacking %s %s", package.name, package.version)
        return packages.unpack(packages.fetch(package, debs), folder)

    kernel = unpacked(recipe.kernel)
    tree = initrd.userland(unpacked(recipe.packages[BUSYBOX]))
    wanted = set(recipe.flavour.modules) - recipe.architecture.lacks
    tree |= modules.modules(kernel, sorted(wanted))
    for name, patterns in recipe.flavour.files.items():
        tree |= initrd.files(unpacked(recipe.packages[name]), patterns)
    (image,) = (kernel / "boot").glob("vmlinu*")
    shutil.copyfile(image, images.kernel)
    LOG.info("  making the initrd")
    images.initrd.write_bytes(initrd.archive(tree))
    if images.disk and images.iso:
        loaders = scratch / "loaders"
        for package in recipe.loaders.values():
            unpacked(package, loaders)
        payload = bootable.Payload(
            kernel=images.kernel,
            initrd=images.initrd,
            cmdline=images.cmdline,
            bios=recipe.architecture.bios,
            uefi=recipe.uefi,
            loaders=loaders,
        )
        LOG.info("  making the disk image")
        bootable.disk(payload, images.disk, scratch)
        LOG.info("  making the ISO image")
        bootable.iso(payload, images.iso, scratch)


def _images(folder: Path, recipe: _Recipe) -> GuestImages:
    console = recipe.architecture.console
    options = f"{KERNEL_OPTIONS} {recipe.flavour.options}".rstrip()
    return GuestImages(
        kernel=folder / "vmlinuz",
        initrd=folder / "initrd",
        disk=folder / "disk.qcow2" if recipe.loaders else None,
        iso=folder / "boot.iso" if recipe.loaders else None,
        console=console,
        cmdline=f"console=tty0 console={console} {options}",
    )
