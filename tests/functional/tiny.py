# SPDX-License-Identifier: Apache-2.0
"""Guests too small to boot, and a list of everything that a host keeps of guests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt

from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import MIB, Disk, Guest
from compute_driver.libvirt.daemon import EmbeddedDaemon
from compute_driver.storage import owner
from tests.functional import base


def guest(**changes: Any) -> Guest:
    """Return a guest without a system, which starts in half a second."""
    empty = {"image": None, "root": Disk(size_bytes=MIB), "memory_mib": 16, "interfaces": ()}
    return base.guest(**empty | changes)


def libvirt_connection(case: unittest.TestCase) -> libvirt.virConnect:
    """Return another connection to this process's libvirt."""
    connection = libvirt.open(EmbeddedDaemon(base.state_path()).uri)
    case.addCleanup(connection.close)
    return connection


def libvirt_error() -> libvirt.libvirtError:
    """Return an error as libvirt itself makes it: with a number."""
    error = libvirt.libvirtError("no")
    error.err = (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_FROM_QEMU, "no")
    return error


def emulators() -> dict[str, int]:
    """Return the process IDs of all QEMUs of this process's host, by the guests' UUIDs."""
    pids = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[0].find("qemu-system") >= 0 and str(base.state_path()) in "\0".join(words):
                pids[words[words.index("-uuid") + 1]] = int(path.parent.name)
    return pids


def kept() -> dict[str, object]:
    """Return domains, emulators, files, locks and partial images of all guests.

    Complete images in the cache belong to no guest.
    """
    connection = libvirt.open(EmbeddedDaemon(base.state_path()).uri)
    try:
        domains = {d.name(): (d.UUIDString(), d.state()) for d in connection.listAllDomains()}
    finally:
        connection.close()
    return {"domains": domains, "emulators": emulators(), "files": files()}


def files() -> set[Path]:
    """Return the files of guests and running operations, relative to the state directory."""
    state = base.state_path()
    places = ("instances", "locks", "images/tmp", "images/locks")
    found = {p.relative_to(state) for place in places for p in (state / place).rglob("*")}
    return {path for path in found if not path.name.startswith(owner.FILE)}


@contextlib.contextmanager
def file_system(size_kib: int, *, at: Path | None = None, readonly: bool = False) -> Iterator[Path]:
    """Mount a small file system for the time of the block.

    :param at: mount point; a new directory by default.
    :raises unittest.SkipTest: if the user may not mount.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = at or Path(scratch)
        options = f"size={size_kib}k,mode=755" + (",ro" if readonly else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            raise unittest.SkipTest("needs the right to mount")
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> None:
    """Fill the free space of a file system."""
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


class TinyTestCase(base.HostTestCase):
    """A test with tiny guests, which checks that nothing remains of any guest."""

    def spawn_tiny(self, **changes: Any) -> Guest:
        """Spawn a tiny guest for the time of the test."""
        made = guest(**changes)
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        return made

    def other_driver(self, **options: Any) -> LibvirtDriver:
        """Return another driver on the same host."""
        driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(driver.close)
        return driver

    def _nothing_is_left(self) -> None:
        super()._nothing_is_left()
        self.assertEqual({"domains": {}, "emulators": {}, "files": set()}, kept())
