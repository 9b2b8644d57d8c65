# SPDX-License-Identifier: Apache-2.0
"""Commands inside a guest, by its serial console, and one guest for many tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import libvirt
from lxml import etree

from compute_driver.choices import RebootKind
from compute_driver.driver import ComputeDriver
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest
from tests.functional import base

#: Seconds that a command in a guest may take, emulated on a busy machine.
RUN_TIMEOUT = 60.0

_STATUS = "GUEST-RC: "


def run(driver: ComputeDriver, made: Guest, command: str) -> str:
    """Run a shell command in a booted guest, and return its output."""
    session = driver.console_attach(made.uuid)
    try:
        before = len(driver.console_log(made.uuid))
        session.send(f"run {command}\r".encode())
        driver.console_wait(made.uuid, _STATUS, timeout=RUN_TIMEOUT, skip_bytes=before)
    finally:
        session.close()
    answer = driver.console_log(made.uuid)[before:].decode().replace("\r", "")
    # The console echoes the command first, some consoles echo it twice.
    return answer.rpartition(f"run {command}\n")[2].rpartition(_STATUS)[0]


def boot_id(driver: ComputeDriver, made: Guest) -> str:
    """Return the kernel's boot ID, which changes only with a boot."""
    return run(driver, made, "cat /proc/sys/kernel/random/boot_id").strip()


@contextlib.contextmanager
def boots(driver: ComputeDriver, made: Guest) -> Iterator[None]:
    """Expect that the guest boots once more."""
    before = len(driver.console_log(made.uuid))
    yield
    driver.console_wait(made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT, skip_bytes=before)


@contextlib.contextmanager
def connection(driver: ComputeDriver) -> Iterator[libvirt.virConnect]:
    """Connect to the driver's libvirt, past the driver."""
    opened = libvirt.open(driver.host_show().connection_uri)
    try:
        yield opened
    finally:
        opened.close()


def domain_xml(driver: ComputeDriver, made: Guest) -> etree._Element:
    """Return libvirt's XML of a guest's domain."""
    with connection(driver) as opened:
        return etree.fromstring(opened.lookupByUUIDString(made.uuid).XMLDesc())


def machine(driver: ComputeDriver, made: Guest) -> str:
    """Return the machine type of a guest, ``pc-q35-7.2`` for example."""
    return domain_xml(driver, made).find("os/type").get("machine", "")


class BootTestCase(base.HostTestCase):
    """Tests of guests that boot more than once."""

    def files(self, made: Guest) -> set[str]:
        """Return the names of the guest's files."""
        return {path.name for path in base.entries(base.state_path() / "instances" / made.uuid)}

    def hard_reboot(self, made: Guest) -> None:
        """Reboot a guest by its power, and wait until it has booted."""
        with boots(self.driver, made):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)


class SharedGuestTestCase(base.HostTestCase):
    """Tests of one guest, which boots once for the class; every test leaves it running."""

    made: Guest

    @classmethod
    def changes(cls) -> dict[str, Any]:
        """Return the fields in which the guest differs from :func:`base.guest`'s."""
        return {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.driver = LibvirtDriver(base.configuration(**cls.options))
        cls.addClassCleanup(cls.driver.close)
        cls.addClassCleanup(cls()._nothing_is_left)
        cls.made = base.guest(**cls.changes())
        cls.addClassCleanup(cls.driver.destroy, cls.made.uuid)
        cls.driver.spawn(cls.made)
        cls.driver.console_wait(cls.made.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)

    def setUp(self) -> None:
        """Make nothing: the class has a driver and a guest."""

    def run_inside(self, command: str) -> str:
        """Run a shell command in the guest and return its output."""
        return run(self.driver, self.made, command)
