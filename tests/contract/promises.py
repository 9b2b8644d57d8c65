# SPDX-License-Identifier: Apache-2.0
"""The promises about every operation: unknown guests are refused, and threads may call."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.driver import ComputeDriver
from compute_driver.guest import MIB, Disk, Guest, Interface
from tests.contract.base import BOOT_TIMEOUT, RESCUE, Case

#: A description for operations that take one.
SIZE = Guest(
    uuid=str(uuid.uuid4()), name="unknown", architecture="x86_64", root=Disk(size_bytes=MIB)
)

#: Every operation on one guest, which must refuse an unknown UUID.
VERBS: dict[str, Callable[[ComputeDriver, str], object]] = {
    "reboot": lambda driver, guest: driver.reboot(guest),
    "hard reboot": lambda driver, guest: driver.reboot(guest, kind=RebootKind.HARD),
    "start": lambda driver, guest: driver.start(guest),
    "stop": lambda driver, guest: driver.stop(guest),
    "pause": lambda driver, guest: driver.pause(guest),
    "resume": lambda driver, guest: driver.resume(guest),
    "suspend": lambda driver, guest: driver.suspend(guest),
    "inject_nmi": lambda driver, guest: driver.inject_nmi(guest),
    "snapshot": lambda driver, guest: driver.snapshot(guest, Path(f"/tmp/{guest}")),
    "rescue": lambda driver, guest: driver.rescue(guest, RESCUE),
    "unrescue": lambda driver, guest: driver.unrescue(guest),
    "quiesce": lambda driver, guest: driver.quiesce(guest),
    "unquiesce": lambda driver, guest: driver.unquiesce(guest),
    "set_password": lambda driver, guest: driver.set_password(guest, "secret"),
    "confirm_resize": lambda driver, guest: driver.confirm_resize(guest),
    "revert_resize": lambda driver, guest: driver.revert_resize(guest),
    "resize": lambda driver, guest: driver.resize(guest, SIZE),
    "check_resize": lambda driver, guest: driver.check_resize(guest, SIZE),
    "attach_interface": lambda driver, guest: driver.attach_interface(guest, Interface()),
    "detach_interface": lambda driver, guest: driver.detach_interface(guest, "52:54:00:0:0:1"),
    "replace_interfaces": lambda driver, guest: driver.replace_interfaces(guest, [Interface()]),
    "show": lambda driver, guest: driver.show(guest),
    "state": lambda driver, guest: driver.state(guest),
    "find": lambda driver, guest: driver.find(guest),
    "console_log": lambda driver, guest: driver.console_log(guest),
    "console_wait": lambda driver, guest: driver.console_wait(guest, "x", timeout=0.1),
    "console_attach": lambda driver, guest: driver.console_attach(guest),
    "screenshot": lambda driver, guest: driver.screenshot(guest),
    "console_address": lambda driver, guest: driver.console_address(guest),
    "display": lambda driver, guest: driver.display(guest),
    "stats": lambda driver, guest: driver.stats(guest),
}


class Promises(Case):
    """See :mod:`compute_driver.driver`."""

    def test_unknown_guest_is_refused_by_every_verb(self) -> None:
        for name, verb in VERBS.items():
            with self.subTest(name), self.assertRaises(exceptions.GuestNotFound):
                verb(self.driver, str(uuid.uuid4()))

    def test_operations_on_one_guest_follow_each_other(self) -> None:
        guest = self.shared()

        def toggle() -> None:
            for _each in range(3):
                self.driver.pause(guest.uuid)
                self.driver.resume(guest.uuid)

        self.together(toggle, toggle)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_one_of_two_spawns_of_one_name_succeeds(self) -> None:
        guests = [self.make_guest(name="contested") for _each in range(2)]
        for guest in guests:
            self.addCleanup(self.driver.destroy, guest.uuid)
        refused: list[exceptions.GuestExists] = []

        def spawn(guest: Guest) -> None:
            try:
                self.driver.spawn(guest)
            except exceptions.GuestExists as error:
                refused.append(error)

        self.together(*((lambda guest=guest: spawn(guest)) for guest in guests))
        self.assertEqual(1, len(refused))
        names = [info.guest.name for info in self.driver.list()]
        self.assertEqual(1, names.count("contested"))

    def together(self, *calls: Callable[[], object]) -> None:
        """Make calls at the same time; raise the first error of a call."""
        failures: list[Exception] = []

        def run(call: Callable[[], object]) -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - handed to the test's thread
                failures.append(error)

        threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOOT_TIMEOUT)
            self.assertFalse(thread.is_alive(), "a call did not return")
        for failure in failures:
            raise failure
