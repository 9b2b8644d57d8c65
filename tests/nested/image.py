# SPDX-License-Identifier: Apache-2.0
"""The test host's kernel and initrd, made from Debian packages."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.guests import cache, initrd, modules, packages
from tests.guests.apt import Apt

INIT = Path(__file__).with_name("init")

#: The cloud kernel of the test guests has neither KVM nor 9p.
KERNEL = "linux-image-amd64"
BUSYBOX = "busybox-static"

_ROOT = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_FOR_GUESTS = ("kvm_amd", "tun", "bridge")
#: In load order.
MODULES = (*_ROOT, "qemu_fw_cfg", *_FOR_GUESTS)


@dataclass(frozen=True)
class HostImage:
    """What QEMU boots."""

    kernel: Path
    initrd: Path


def build() -> HostImage:
    """Return the test host's files; make the files that the cache of test guests lacks.

    :raises GuestBuildError: apt cannot get a package.
    """
    root = cache.default()
    found = packages.candidates([KERNEL, BUSYBOX], Apt(root / "apt", "amd64"))
    wanted = (packages.kernel_image(found[KERNEL]), found[BUSYBOX])

    def make(folder: Path, scratch: Path) -> None:
        kernel, busybox = (
            packages.unpack(packages.fetch(package, root / "packages"), scratch)
            for package in wanted
        )
        (source,) = (kernel / "boot").glob("vmlinuz-*")
        shutil.copyfile(source, folder / "vmlinuz")
        (folder / "initrd").write_bytes(initrd.archive(_tree(kernel, busybox)))

    digest = hashlib.sha256(INIT.read_bytes() + Path(__file__).read_bytes())
    for package in wanted:
        digest.update(package.file_name.encode())
    folder = cache.kept(root, f"nested-host-{digest.hexdigest()[:16]}", make)
    return HostImage(folder / "vmlinuz", folder / "initrd")


def _tree(kernel: Path, busybox: Path) -> initrd.Tree:
    files = modules.modules(kernel, MODULES)
    names = {Path(name).stem for name in files}
    loaded = [name for name in MODULES if name in names]  # others are built into the kernel
    return {
        **initrd.files(busybox, ("*bin/busybox",)),
        **files,
        "bin/sh": initrd.link("busybox"),
        "sbin/modprobe": initrd.link("/bin/busybox"),
        "init": initrd.regular(INIT.read_bytes(), 0o755),
        "modules": initrd.regular(" ".join(loaded).encode() + b"\n"),
    }
