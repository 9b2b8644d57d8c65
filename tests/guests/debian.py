# SPDX-License-Identifier: Apache-2.0
"""A Debian with systemd and cloud-init, whose packages nobody has changed, as a whole disk.

The disk takes the place of Debian's own cloud images, which need a download. It boots by BIOS and
UEFI from a partition with Debian's kernel and initrd. The last partition has the root file system,
as in those images, and cloud-init makes both grow.
"""

from __future__ import annotations

import logging
import os
from functools import cache as memoize
from pathlib import Path

from tests.guests import bootable, packages
from tests.guests import cache as caches
from tests.guests.apt import Apt, own_release
from tests.guests.catalog import ARCHITECTURES, KERNEL_OPTIONS, OPEN_VSWITCH_OPTIONS
from tests.guests.errors import GuestBuildError
from tests.guests.tools import install_debian

LOG = logging.getLogger(__name__)

_ARCHITECTURE = ARCHITECTURES["x86_64"]
_KERNEL = "linux-image-cloud-amd64"
#: Those that Debian's own cloud images have too; cloud-init calls net-tools to set routes.
_PACKAGES = (
    "cloud-guest-utils",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "ifupdown",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    _KERNEL,
    "net-tools",
    "netbase",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
    "systemd-sysv",
    "udev",
    "zstd",
)
#: Files that no program of the guest reads, below ``/usr/share``.
_EXCLUDED = ("doc", "info", "locale", "man")
_ROOT_SIZE = 1 << 30
_ROOT_LABEL = "cdroot"


def debian(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the disk, qcow2; build the disk if the cache lacks it, which takes root some minutes.

    :param cache: as for the other guests
    :raises: GuestBuildError
    """
    root = Path(cache) if cache else caches.default()
    chosen, loaders = _chosen(root)
    name = f"debian-{caches.digest(p.file_name for p in (*chosen, *loaders))}"

    def make(folder: Path, scratch: Path) -> None:
        LOG.info("building a Debian with cloud-init")
        _make(folder / "disk.qcow2", scratch, root, loaders)

    return caches.kept(root, name, make) / "disk.qcow2"


@memoize
def _chosen(root: Path) -> tuple[list[packages.Package], list[packages.Package]]:
    """Return the packages of the guest that are named here, and those of its boot loaders."""
    apt = _apt(root)
    bios, uefi = _ARCHITECTURE.bios, _ARCHITECTURE.uefi
    loaders = [name for loader in (bios, uefi) if loader for name in loader.packages]
    named = packages.candidates([*_PACKAGES, *loaders], apt)
    return [named[name] for name in _PACKAGES], [named[name] for name in loaders]


def _apt(root: Path) -> Apt:
    return Apt(root / "apt", _ARCHITECTURE.debian)


def _make(target: Path, scratch: Path, root: Path, loaders: list[packages.Package]) -> None:
    tree = scratch / "root"
    _install(tree, _apt(root).sources)
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    (initrd,) = (tree / "boot").glob("initrd.img-*")
    for package in loaders:
        packages.unpack(packages.fetch(package, root / "packages"), scratch / "loaders")
    payload = bootable.Payload(
        kernel=kernel,
        initrd=initrd,
        cmdline=_cmdline(),
        bios=_ARCHITECTURE.bios,
        uefi=_ARCHITECTURE.uefi,
        loaders=scratch / "loaders",
    )
    LOG.info("  making the disk image")
    bootable.disk(payload, target, scratch, bootable.Root(tree, _ROOT_LABEL, _ROOT_SIZE))


def _install(tree: Path, sources: Path) -> None:
    """Install the packages of the guest into a folder."""
    if os.geteuid() != 0:
        raise GuestBuildError("only root can install a Debian into a folder: build it as root")
    LOG.info("  installing the packages")
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    include = f"--include={','.join(_PACKAGES)}"
    install_debian(own_release(), tree, [sources], [include, *excluded])


def _cmdline() -> str:
    console = f"console=tty0 console={_ARCHITECTURE.console}"
    return f"root=LABEL={_ROOT_LABEL} rw {console} {KERNEL_OPTIONS} {OPEN_VSWITCH_OPTIONS}"
