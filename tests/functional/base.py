# SPDX-License-Identifier: Apache-2.0
"""A private host for each test process, and descriptions of real guests."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import unittest
import uuid
from pathlib import Path
from typing import Any, ClassVar

from oslo_config import cfg

from compute_driver import conf
from compute_driver.choices import Accelerator
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, DirectBoot, Disk, Guest, Image, Interface
from compute_driver.libvirt.daemon import EmbeddedDaemon
from compute_driver.storage import layout, owner
from tests import guests

#: Accelerator of the tests' guests. A host with a working KVM sets ``kvm``, and the tests prove it.
ACCELERATOR = Accelerator(os.environ.get("COMPUTE_DRIVER_TEST_ACCELERATOR", "tcg"))
VIRT_TYPE = "kvm" if ACCELERATOR is Accelerator.KVM else "qemu"

#: The last line that a test guest writes as it boots.
BANNER = "GUEST-BANNER"

#: Seconds that a guest may take to boot, emulated on a busy machine.
BOOT_TIMEOUT = float(os.environ.get("COMPUTE_DRIVER_TEST_BOOT_SECONDS", "180"))


@functools.cache
def state_path() -> Path:
    """Return this process's state directory, which goes at exit, after the stop of its libvirt."""
    path = Path(tempfile.mkdtemp(prefix="cd-", dir="/var/tmp"))
    atexit.register(_remove, path)
    return path


def _remove(path: Path) -> None:
    EmbeddedDaemon(path).stop()
    shutil.rmtree(path)


def configuration(**options: Any) -> cfg.ConfigOpts:
    """Return a configuration of this process's host.

    :param options: of group ``[hypervisor]``.
    """
    loaded = conf.load(files=[os.devnull])
    # Without fallback, a guest that should run on KVM is never emulated.
    ours = {"virt_type": VIRT_TYPE, "emulation_fallback": False, "state_path": str(state_path())}
    for name, value in {**ours, **options}.items():
        loaded.set_override(name, value, group="hypervisor")
    return loaded


def entries(directory: Path) -> list[Path]:
    """Return everything in a directory, but the driver's notes of its guests' owner and domain."""
    paths = directory.iterdir() if directory.exists() else ()
    return [
        path
        for path in paths
        if path.name != layout.LATEST and not path.name.startswith(owner.FILE)
    ]


def guest(**changes: Any) -> Guest:
    """Return a guest that boots to the banner, by default from the basic test image."""
    number = str(uuid.uuid4())
    fields: dict[str, Any] = {
        "uuid": number,
        "name": f"guest-{number[:8]}",
        "architecture": "x86_64",
        "memory_mib": 192,
        "interfaces": (Interface(),),
    }
    if not {"image", "boot"} & changes.keys():
        fields |= {"image": disk_image(), "root": Disk(size_bytes=GIB)}
    return Guest(**fields | changes)


def disk_image(flavour: str = "basic") -> Image:
    """Return the whole-disk image of one flavour of test guests."""
    return Image(location=str(guests.build(flavour).disk))


def kernel(*words: str, images: guests.GuestImages | None = None) -> DirectBoot:
    """Return how the kernel of a test guest boots without firmware's boot loader.

    :param words: more of the kernel's command line.
    :param images: the guest's; by default those of the basic test guest.
    """
    images = images or guests.build()
    return DirectBoot(
        kernel=Image(location=str(images.kernel)),
        ramdisk=Image(location=str(images.initrd)),
        cmdline=" ".join([images.cmdline, *words]),
    )


class HostTestCase(unittest.TestCase):
    """A test with its own driver on this process's host, which checks that nothing remains."""

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.driver = LibvirtDriver(configuration(**self.options))
        self.addCleanup(self.driver.close)
        self.addCleanup(self._nothing_is_left)

    def spawn(self, **changes: Any) -> Guest:
        """Spawn a guest for the time of the test, and wait for its banner."""
        made = guest(**changes)
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.console_wait(made.uuid, BANNER, timeout=BOOT_TIMEOUT)
        return made

    def console(self, made: Guest) -> str:
        """Return the text of a guest's serial console."""
        return self.driver.console_log(made.uuid).decode(errors="replace")

    def fact(self, made: Guest, key: str) -> list[str]:
        """Return the values of a fact that the guest printed at its last boot, in order.

        :param key: such as ``DISK`` for the lines ``GUEST-DISK: ...``.
        """
        boot = self.console(made).rpartition("GUEST-DOWN")[2]
        lines = boot.replace("\r", "").splitlines()
        return [line.partition(": ")[2] for line in lines if line.startswith(f"GUEST-{key}: ")]

    def _nothing_is_left(self) -> None:
        self.assertEqual((), self.driver.list())
        self.assertEqual((), self.driver.audit())
        logs = state_path() / "libvirt" / "log" / "libvirt" / "qemu"
        self.assertEqual([], list(logs.glob("guest-*")))
        for directory in ("instances", "locks"):
            self.assertEqual([], entries(state_path() / directory))
