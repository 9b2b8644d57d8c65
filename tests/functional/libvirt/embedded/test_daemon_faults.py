# SPDX-License-Identifier: Apache-2.0
"""The next command heals the embedded libvirt, whichever of its parts died or was stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import MIB, Disk, Guest, Image
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional import base, boot_sectors, command, tables, tiny
from tests.functional.processes import daemon_pid, ended

PARTS = ("supervisor", "libvirtd", "virtlogd", "QEMU")
SECONDS = 60.0  # libvirt waits 10 s for a stopped QEMU, several times

Fault = Mapping[str, signal.Signals]


def all_faults() -> Iterator[Fault]:
    """Yield all combinations of signals that parts receive."""
    for choice in itertools.product((None, signal.SIGKILL, signal.SIGSTOP), repeat=len(PARTS)):
        if any(choice):
            yield {part: number for part, number in zip(PARTS, choice, strict=True) if number}


#: The combinations of the table.
FAULTS = tables.rows(
    all_faults(),
    [
        {"supervisor": signal.SIGKILL},
        dict.fromkeys(PARTS, signal.SIGKILL),
        {"supervisor": signal.SIGSTOP, "libvirtd": signal.SIGKILL, "virtlogd": signal.SIGKILL},
    ],
)


def describe(fault: Fault) -> str:
    """Return a fault in words."""
    words = {signal.SIGKILL: "killed", signal.SIGSTOP: "stopped"}
    return ", ".join(f"{part} {words[number]}" for part, number in fault.items())


class DaemonFaultsTest(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        image = Path(directory.name, "writer.raw")
        image.write_bytes(boot_sectors.dots())
        self.image = Image(location=str(image), format=DiskFormat.RAW)

    def spawn_writer(self) -> Guest:
        made = self.spawn_tiny(image=self.image, root=Disk(size_bytes=MIB))
        self.wait_for_dots(made)
        return made

    def wait_for_dots(self, made: Guest) -> None:
        """Wait until the guest has written more to its console."""
        length = len(self.driver.console_log(made.uuid))
        self.driver.console_wait(made.uuid, "...", timeout=SECONDS, skip_bytes=length)

    def pid(self, part: str, made: Guest) -> int:
        if part == "supervisor":
            supervisor = EmbeddedDaemon(base.state_path()).pid
            assert supervisor is not None
            return supervisor
        if part == "QEMU":
            return tiny.emulators()[made.uuid]
        return daemon_pid(base.state_path(), part)

    def inflict(self, fault: Fault, made: Guest) -> None:
        """Send the signals; a stopped supervisor first, so that it heals nothing."""
        pids = {part: self.pid(part, made) for part in fault}
        for part in sorted(fault, key=lambda part: (part != "supervisor", part)):
            with contextlib.suppress(ProcessLookupError):  # libvirtd dies with its supervisor
                os.kill(pids[part], fault[part])
        killed = [pids[part] for part in fault if fault[part] is signal.SIGKILL]
        self.assertTrue(ended(killed, SECONDS))

    @contextlib.contextmanager
    def next_command(self) -> Iterator[LibvirtDriver]:
        driver = LibvirtDriver(base.configuration())
        try:
            yield driver
        finally:
            driver.close()

    def test_each_operation_after_each_fault(self) -> None:
        for fault, (verb, operation) in itertools.product(FAULTS, OPERATIONS.items()):
            with self.subTest(fault=describe(fault), operation=verb):
                outcome, took = self.outcome(fault, verb, operation)
                # A line at once: the whole table takes long.
                tables.show("daemon-faults", [(describe(fault), verb, outcome, f"{took:.1f} s")])

    def outcome(self, fault: Fault, verb: str, operation: Operation) -> tuple[str, float]:
        """Return how an operation ends that is the first one after a fault, and its seconds."""
        made = self.spawn_writer()
        try:
            emulators = tiny.emulators()
            self.inflict(fault, made)
            began = time.monotonic()
            with self.next_command() as driver:
                outcome = operation(self, driver, made, fault)
            took = time.monotonic() - began
            self.assertLess(took, SECONDS)
            if verb in ("list", "spawn", "console log") and "QEMU" not in fault:
                self.assertEqual(emulators, tiny.emulators())
            return outcome, took
        finally:
            self.driver.destroy(made.uuid)

    def list_guests(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        killed = fault.get("QEMU") is signal.SIGKILL
        expected = PowerState.STOPPED if killed else PowerState.RUNNING
        # A libvirt that has just started tells nobody when it notices the end of an emulator.
        command.eventually(lambda: [info.state for info in driver.list()] == [expected])
        return str(expected)

    def spawn_another(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        another = tiny.guest(image=self.image)
        self.addCleanup(self.driver.destroy, another.uuid)
        driver.spawn(another)
        self.wait_for_dots(another)
        self.driver.destroy(another.uuid)
        return "the new guest runs and is logged"

    def stop(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        driver.stop(made.uuid, timeout=0.5)
        self.assertIs(PowerState.STOPPED, driver.state(made.uuid))
        self.assertEqual({}, tiny.emulators())
        driver.start(made.uuid)
        self.wait_for_dots(made)
        return "stopped, and starts again"

    def reboot(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, driver.state(made.uuid))
        self.wait_for_dots(made)
        return "runs and is logged"

    def console_log(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        self.assertIn(b"...", driver.console_log(made.uuid))
        if "QEMU" in fault:
            return "the output before the fault"
        kinds = [finding.kind for finding in driver.audit()]
        if fault.get("virtlogd") is signal.SIGKILL:
            self.assertEqual(["unlogged guest"], kinds)
            return "the output before the fault; audit tells"
        self.assertEqual([], kinds)
        self.wait_for_dots(made)
        return "goes on"

    def destroy(self, driver: LibvirtDriver, made: Guest, fault: Fault) -> str:
        driver.destroy(made.uuid)
        self.assertEqual((), driver.list())
        self.assertEqual({}, tiny.emulators())
        return "gone"

    def test_a_driver_that_lives_on_heals_too(self) -> None:
        for fault in FAULTS:
            if "QEMU" not in fault:
                with self.subTest(fault=describe(fault)):
                    made = self.spawn_writer()
                    self.inflict(fault, made)
                    self.reboot(self.driver, made, fault)
                    self.driver.destroy(made.uuid)

    def test_a_guest_is_not_powered_off_while_virtlogd_cannot_start(self) -> None:
        made = self.spawn_writer()
        emulators = tiny.emulators()
        configured = base.state_path() / "libvirt" / "etc" / "libvirt" / "virtlogd.conf"
        before = configured.read_text()
        self.addCleanup(configured.write_text, before)
        configured.write_text("max_size = nonsense\n")
        self.inflict({"virtlogd": signal.SIGKILL}, made)
        with self.assertRaisesRegex(exceptions.LibvirtUnavailable, "virtlogd"):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual(emulators, tiny.emulators())
        configured.write_text(before)
        self.reboot(self.driver, made, {})


Operation = Callable[[DaemonFaultsTest, LibvirtDriver, Guest, Fault], str]
OPERATIONS: Mapping[str, Operation] = {
    "list": DaemonFaultsTest.list_guests,
    "spawn": DaemonFaultsTest.spawn_another,
    "stop": DaemonFaultsTest.stop,
    "hard reboot": DaemonFaultsTest.reboot,
    "console log": DaemonFaultsTest.console_log,
    "destroy": DaemonFaultsTest.destroy,
}
