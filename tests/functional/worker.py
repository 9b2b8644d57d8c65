# SPDX-License-Identifier: Apache-2.0
"""Worker processes: each runs one operation; a test pauses, kills or observes the process."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from compute_driver import conf
from compute_driver.choices import InterfaceKind, RebootKind, SnapshotFormat
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, MIB, Disk, Guest, Image, Interface, Rescue
from compute_driver.system import steps
from tests import pool
from tests.functional import base, tiny

#: The interface that is attached and detached.
ADDED = Interface(mac="52:54:00:00:00:ff")

PAUSED = "paused\n"
DONE = "done\n"


class Worker:
    """A process that runs one operation on a guest, or clears the cache of images.

    :param action: a key of :data:`ACTIONS`.
    :param number: UUID of the guest.
    :param pause: a step that the product announces, or the number of a step from 0 on, after which
        the worker waits for :meth:`go_on`; by default the worker never waits.
    :param image: location of an image: the guest's own image (by default the guest has an empty
        root disk), the rescue system's image, or the new snapshot.
    :param bridge: a bridge of Open vSwitch, which gets the guest's interface.
    :param configured: options of group ``[hypervisor]``; the test's own ``state_path`` by default.
    """

    def __init__(
        self,
        action: str,
        number: str = "",
        *,
        pause: str = "",
        image: str = "",
        bridge: str = "",
        configured: Mapping[str, Any] | None = None,
    ) -> None:
        options = [f"--pause={pause}", f"--image={image}", f"--bridge={bridge}"]
        for name, value in {"state_path": base.state_path(), **(configured or {})}.items():
            options += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *options, action, number or str(uuid.uuid4())],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """Return the next line that the worker writes: :data:`PAUSED` or :data:`DONE`."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go_on(self) -> None:
        """End the worker's pause."""
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill the worker, which cleans nothing up."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for the worker's end, and return its exit status."""
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
    """Return a tiny guest after a resize: with more memory, a larger disk and a swap disk."""
    guest = driver.show(number).guest
    root, swap = Disk(size_bytes=2 * MIB), Disk(size_bytes=MIB)
    return dataclasses.replace(guest, memory_mib=24, root=root, swap=swap)


class Pauses:
    """Waits at a step until the test writes a line.

    :param pause: the step's name, or its number.
    """

    def __init__(self, pause: str) -> None:
        self._pause = pause
        self.seen: list[str] = []

    def __call__(self, step: str) -> None:
        self.seen.append(step)
        if self._pause in (step, str(len(self.seen) - 1)):
            os.write(1, PAUSED.encode())
            sys.stdin.readline()


@dataclasses.dataclass(frozen=True)
class Given:
    """The image and the bridge of an action; see the parameters of :class:`Worker`."""

    image: str = ""
    bridge: str = ""

    @property
    def interface(self) -> Interface:
        """Return the interface that is attached and detached, or that a new guest has."""
        if not self.bridge:
            return ADDED
        return dataclasses.replace(ADDED, kind=InterfaceKind.OVS, source=self.bridge)

    def guest(self, **changes: Any) -> Guest:
        """Return a tiny guest."""
        if self.image:
            changes |= {"image": Image(location=self.image), "root": Disk(size_bytes=GIB)}
        if self.bridge:
            changes |= {"interfaces": (self.interface,)}
        return tiny.guest(**changes)


def _cycle(driver: LibvirtDriver, _number: str, given: Given) -> None:
    for _round in range(4):
        made = given.guest()
        driver.spawn(made)
        driver.destroy(made.uuid)


#: The operations, by name.  ``cycle`` spawns and destroys several guests, ``spawn_gated`` and
#: ``reboot_gated`` wait for the network, and the guests of ``soft_reboot`` do not answer.
ACTIONS: dict[str, Callable[[LibvirtDriver, str, Given], object]] = {
    "spawn": lambda driver, number, given: driver.spawn(given.guest(uuid=number)),
    "spawn_gated": lambda driver, number, given: driver.spawn(
        given.guest(uuid=number), network=contextlib.nullcontext()
    ),
    "destroy": lambda driver, number, _given: driver.destroy(number),
    "quiesce": lambda driver, number, _given: driver.quiesce(number),
    "start": lambda driver, number, _given: driver.start(number),
    "resume": lambda driver, number, _given: driver.resume(number),
    "soft_reboot": lambda driver, number, _given: driver.reboot(number, timeout=0.1),
    "reboot": lambda driver, number, _given: driver.reboot(number, kind=RebootKind.HARD),
    "reboot_gated": lambda driver, number, _given: driver.reboot(
        number, kind=RebootKind.HARD, network=contextlib.nullcontext()
    ),
    "rescue": lambda driver, number, given: driver.rescue(
        number, Rescue(image=Image(location=given.image)), timeout=0
    ),
    "unrescue": lambda driver, number, _given: driver.unrescue(number),
    "snapshot": lambda driver, number, given: driver.snapshot(
        number, Path(given.image), image_format=SnapshotFormat.RAW
    ),
    "resize": lambda driver, number, _given: driver.resize(number, larger(driver, number)),
    "confirm_resize": lambda driver, number, _given: driver.confirm_resize(number),
    "revert_resize": lambda driver, number, _given: driver.revert_resize(number),
    "attach_interface": lambda driver, number, given: driver.attach_interface(
        number, given.interface
    ),
    "detach_interface": lambda driver, number, _given: driver.detach_interface(number, ADDED.mac),
    "cycle": _cycle,
    "prune": lambda driver, _number, _given: driver.image_prune(unused=0),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", action="append", required=True)
    parser.add_argument("--pause", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--bridge", required=True)
    parser.add_argument("action", choices=[*ACTIONS])
    parser.add_argument("number")
    options = parser.parse_args()
    loaded = conf.load(files=[os.devnull])
    loaded.set_override("stop_timeout", 0.0, group="hypervisor")  # tiny guests never answer
    for option in options.set:
        name, _, value = option.partition("=")
        loaded.set_override(name, value, group="hypervisor")
    driver = LibvirtDriver(loaded)
    with pool.inherited(), steps.announced_to(Pauses(options.pause)):
        ACTIONS[options.action](driver, options.number, Given(options.image, options.bridge))
    os.write(1, DONE.encode())


if __name__ == "__main__":
    main()
