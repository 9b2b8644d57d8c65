# SPDX-License-Identifier: Apache-2.0
"""Processes of their own at work on a test's host, to be killed half-way or to go on beside it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import pkgutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import conf
from compute_driver.choices import SnapshotFormat
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, MIB, Disk, Guest, Image, Interface, Rescue
from tests.functional import base, tiny

#: Where a worker can pause: before or after a call of a function.
POINTS = {
    "checked": ("before", "compute_driver.operations.spawn._refuse_taken"),
    "directory made": ("before", "compute_driver.storage.layout.boot_files"),
    "disk made": ("after", "compute_driver.storage.disks.make"),
    "defined": ("before", "libvirt.virDomain.create"),
    "started": ("after", "libvirt.virDomain.create"),
    "powered off": ("before", "compute_driver.libvirt.domain.undefine"),
    "undefined": ("before", "compute_driver.operations.destroy.remove_files"),
    "image chosen": ("before", "compute_driver.images.cache._Entry.remove"),
    "image forgotten": ("after", "compute_driver.images.cache._Entry.forget"),
    "copy begun": ("after", "libvirt.virDomain.backupBegin"),
    "frozen": ("after", "libvirt.virDomain.fsFreeze"),
    "rescue made": ("after", "compute_driver.operations.rescue._make_files"),
    "stopped": ("before", "compute_driver.libvirt.domain.define"),
    "redefined": ("after", "compute_driver.libvirt.domain.define"),
    "backed up": ("before", "compute_driver.operations.snapshot._finish"),
    "converted": ("after", "compute_driver.system.tools.run"),
    "copied": ("after", "compute_driver.system.files.clone"),
    "new one defined": ("before", "compute_driver.storage.exchange.commit"),
    "made": ("before", "compute_driver.storage.exchange.forward"),
    "moved": ("before", "pathlib.Path.rmdir"),
    "dropped": ("before", "compute_driver.storage.exchange.clear"),
    "undoing": ("before", "compute_driver.storage.exchange.backward"),
    "undone": ("before", "shutil.rmtree"),
    "described": ("before", "compute_driver.libvirt.domain.attach"),
    "attached": ("after", "compute_driver.libvirt.domain.attach"),
    "let go": ("after", "compute_driver.operations.plugging._let_go"),
}

#: The interface that is attached and detached.
ADDED = Interface(mac="52:54:00:00:00:ff")

PAUSED = "paused\n"
DONE = "done\n"


class Worker:
    """A process that does something with one guest, or clears the cache of images.

    :param action: a key of :data:`ACTIONS`.
    :param number: UUID of the guest.
    :param pause: a key of :data:`POINTS`, where it waits until it is told to go on; or nowhere.
    :param image: location of an image: the guest's own, whose root disk is empty by default, the
        rescue system's, or the snapshot that is to be made.
    """

    def __init__(self, action: str, number: str = "", *, pause: str = "", image: str = "") -> None:
        options = ["--state", str(base.state_path()), "--pause", pause, "--image", image]
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *options, action, number or str(uuid.uuid4())],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """Return the next line that it writes: where it is."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go_on(self) -> None:
        """End its pause."""
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Give it no chance to clean up."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Return its exit status once it has ended."""
        with self.process:
            return self.process.wait(base.BOOT_TIMEOUT)


@contextlib.contextmanager
def running(*arguments: Any, **options: Any) -> Iterator[Worker]:
    """Run a worker that does not outlive the block."""
    worker = Worker(*arguments, **options)
    try:
        yield worker
    finally:
        worker.kill()


def larger(driver: LibvirtDriver, number: str) -> Guest:
    """Return what a tiny guest is resized to: with a larger disk, and one of swap space."""
    guest = driver.show(number).guest
    root, swap = Disk(size_bytes=2 * MIB), Disk(size_bytes=MIB)
    return dataclasses.replace(guest, memory_mib=24, root=root, swap=swap)


def _pausing(when: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def pause() -> None:
        os.write(1, PAUSED.encode())
        sys.stdin.readline()

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            pause()
        result = function(*arguments, **options)
        if when == "after":
            pause()
        return result

    return wrapper


def _guest(image: str, **changes: Any) -> Guest:
    if image:
        changes |= {"image": Image(location=image), "root": Disk(size_bytes=GIB)}
    return tiny.guest(**changes)


def _cycle(driver: LibvirtDriver, _number: str, image: str) -> None:
    for _round in range(4):
        made = _guest(image)
        driver.spawn(made)
        driver.destroy(made.uuid)


#: What is done with a guest, by its UUID, and an image; ``cycle`` spawns and destroys several.
ACTIONS: dict[str, Callable[[LibvirtDriver, str, str], object]] = {
    "spawn": lambda driver, number, image: driver.spawn(_guest(image, uuid=number)),
    "destroy": lambda driver, number, _image: driver.destroy(number),
    "quiesce": lambda driver, number, _image: driver.quiesce(number),
    "rescue": lambda driver, number, image: driver.rescue(
        number, Rescue(image=Image(location=image)), timeout=0
    ),
    "unrescue": lambda driver, number, _image: driver.unrescue(number),
    "snapshot": lambda driver, number, image: driver.snapshot(
        number, Path(image), image_format=SnapshotFormat.RAW
    ),
    "resize": lambda driver, number, _image: driver.resize(number, larger(driver, number)),
    "confirm_resize": lambda driver, number, _image: driver.confirm_resize(number),
    "revert_resize": lambda driver, number, _image: driver.revert_resize(number),
    "attach_interface": lambda driver, number, _image: driver.attach_interface(number, ADDED),
    "detach_interface": lambda driver, number, _image: driver.detach_interface(number, ADDED.mac),
    "cycle": _cycle,
    "prune": lambda driver, _number, _image: driver.image_prune(unused=0),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", required=True)
    parser.add_argument("--pause", required=True, choices=["", *POINTS])
    parser.add_argument("--image", required=True)
    parser.add_argument("action", choices=[*ACTIONS])
    parser.add_argument("number")
    options = parser.parse_args()
    loaded = conf.load(files=[os.devnull])
    loaded.set_override("state_path", options.state, group="hypervisor")
    loaded.set_override("stop_timeout", 0.0, group="hypervisor")  # tiny guests never answer
    driver = LibvirtDriver(loaded)
    with contextlib.ExitStack() as patches:
        if options.pause:
            when, target = POINTS[options.pause]
            wrapper = _pausing(when, pkgutil.resolve_name(target))
            patches.enter_context(mock.patch(target, wrapper))
        ACTIONS[options.action](driver, options.number, options.image)
    os.write(1, DONE.encode())


if __name__ == "__main__":
    main()
