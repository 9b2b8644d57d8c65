# SPDX-License-Identifier: Apache-2.0
"""The driver under test, and guests for the tests of all sections."""

from __future__ import annotations

import contextlib
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.driver import ComputeDriver
from compute_driver.guest import Guest, Image, Rescue
from compute_driver.info import GuestInfo

#: Seconds that a guest may take to boot, also when it is emulated on a busy machine.
BOOT_TIMEOUT = 120.0

#: A rescue system that cannot be booted.
RESCUE = Rescue(image=Image(location="/nonexistent/image.qcow2"))

Refused = contextlib.AbstractContextManager[None]


class Case(unittest.TestCase):
    """A subclass supplies the driver and a guest that boots; test runners do not collect it.

    The driver serves screens by VNC at 127.0.0.1.

    Booting takes most of the time: all tests that leave a guest running share one guest.
    """

    driver: ComputeDriver
    #: Text that a guest writes on its serial console at the end of its boot.
    banner: str
    _shared: Guest | None = None

    @classmethod
    def make_driver(cls) -> ComputeDriver:
        """Return the driver under test."""
        raise NotImplementedError

    @classmethod
    def make_guest(cls, **changes: Any) -> Guest:
        """Return the description of a new guest that boots to the banner."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.driver = cls.make_driver()
        cls.addClassCleanup(cls.driver.close)

    @classmethod
    def shared(cls) -> Guest:
        """Return the guest that runs before and after every test."""
        if cls._shared is None:
            guest = cls.make_guest()
            cls.addClassCleanup(cls.driver.destroy, guest.uuid)
            cls.driver.spawn(guest)
            cls._shared = guest
            cls.driver.console_wait(guest.uuid, cls.banner, timeout=BOOT_TIMEOUT)
        return cls._shared

    def spawn(self, **changes: Any) -> Guest:
        guest = self.make_guest(**changes)
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest)
        return guest

    def state(self, guest: Guest) -> PowerState:
        state = self.driver.state(guest.uuid)
        self.assertIs(state, self.driver.show(guest.uuid).state)
        return state

    def listed(self) -> dict[str, GuestInfo]:
        return {info.guest.uuid: info for info in self.driver.list()}

    @contextlib.contextmanager
    def boots(self, guest: Guest) -> Iterator[None]:
        """Expect a boot of the guest to its end."""
        before = len(self.driver.console_log(guest.uuid))
        yield
        self.driver.console_wait(guest.uuid, self.banner, timeout=BOOT_TIMEOUT, skip_bytes=before)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    @contextlib.contextmanager
    def refuses(self, kind: type[Exception], text: str) -> Iterator[None]:
        """Expect an error with exactly that text, whichever driver raises the error."""
        with self.assertRaises(kind) as raised:
            yield
        self.assertEqual((kind, text), (type(raised.exception), str(raised.exception)))

    def refuses_state(self, guest: Guest, words: str, state: str, accepted: str) -> Refused:
        """Expect the refusal of a request that the guest's state does not accept."""
        text = f"cannot {words} guest {guest.name!r}: it is {state}; accepted: {accepted}"
        return self.refuses(exceptions.InvalidGuestState, text)

    def assert_unharmed(self, guest: Guest) -> None:
        shown = self.driver.show(guest.uuid)
        self.assertIs(shown.state, PowerState.RUNNING)
        self.assertEqual(guest.name, shown.guest.name)
        self.assertIn(self.banner.encode(), self.driver.console_log(guest.uuid))

    def assert_nothing_left(self, guest: Guest) -> None:
        self.assertNotIn(guest.uuid, self.listed())
        self.assertFalse([f for f in self.driver.audit() if guest.uuid in f.subject])

    def snapshot_directory(self) -> Path:
        """Return a directory for images; the end of the test removes the directory."""
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        return Path(home.name)
