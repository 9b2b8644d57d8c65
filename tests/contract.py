# SPDX-License-Identifier: Apache-2.0
"""The behaviours that every driver must show, written against the contract alone."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import subprocess
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import (
    DiskBus,
    DiskFormat,
    InterfaceKind,
    NicModel,
    PowerState,
    Quiesce,
    RebootKind,
    SnapshotFormat,
    VideoModel,
)
from compute_driver.consoles import DisplayKind
from compute_driver.driver import ComputeDriver
from compute_driver.guest import GIB, MIB, ConfigDrive, Disk, Guest, Image, Interface, Rescue
from compute_driver.info import GuestInfo

#: Seconds that a guest may take to boot, be it emulated on a busy machine.
BOOT_TIMEOUT = 120.0

#: What cannot be booted.
RESCUE = Rescue(image=Image(location="/nonexistent/image.qcow2"))

#: Every verb on one guest that must refuse a UUID it does not know.
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


class DriverContract(unittest.TestCase):
    """A subclass supplies the driver and a guest that boots; this module is not collected.

    The driver serves screens by VNC at 127.0.0.1.

    Booting is what takes time: one guest, made on demand, serves all tests that leave it running.
    """

    driver: ComputeDriver
    #: What a guest writes on its serial console when it is up.
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
        """Return the guest that is up and is left so by every test."""
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
        """Expect that the guest comes up anew."""
        before = len(self.driver.console_log(guest.uuid))
        yield
        self.driver.console_wait(guest.uuid, self.banner, timeout=BOOT_TIMEOUT, skip_bytes=before)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    # Spawn, list, show, find

    def test_spawned_guest_runs_and_is_listed_and_shown(self) -> None:
        guest = self.shared()
        shown = self.driver.show(guest.uuid)
        self.assertIs(shown.state, PowerState.RUNNING)
        self.assertEqual((guest.uuid, guest.name), (shown.guest.uuid, shown.guest.name))
        self.assertEqual(guest.memory_mib, shown.guest.memory_mib)
        self.assertIn(shown.accelerator, ("kvm", "tcg"))
        self.assertTrue(shown.reason)
        listed = self.listed()[guest.uuid]
        # What takes looking for is not in a list.
        for fact in ("guest", "state", "accelerator", "reason", "console"):
            self.assertEqual(getattr(shown, fact), getattr(listed, fact))

    def test_guest_is_found_by_name_and_by_uuid(self) -> None:
        guest = self.shared()
        self.assertEqual(guest.uuid, self.driver.find(guest.name))
        self.assertEqual(guest.uuid, self.driver.find(guest.uuid))

    def test_taken_uuid_is_refused_and_its_guest_unharmed(self) -> None:
        guest = self.shared()
        with self.assertRaises(exceptions.GuestExists):
            self.driver.spawn(self.make_guest(uuid=guest.uuid))
        self.assert_unharmed(guest)

    def test_taken_name_is_refused_and_its_guest_unharmed(self) -> None:
        guest = self.shared()
        other = self.make_guest(name=guest.name)
        with self.assertRaises(exceptions.GuestExists):
            self.driver.spawn(other)
        self.assertNotIn(other.uuid, self.listed())
        self.assert_unharmed(guest)

    def assert_unharmed(self, guest: Guest) -> None:
        shown = self.driver.show(guest.uuid)
        self.assertIs(shown.state, PowerState.RUNNING)
        self.assertEqual(guest.name, shown.guest.name)
        self.assertIn(self.banner.encode(), self.driver.console_log(guest.uuid))

    # The network, and guests that are made only

    def test_guest_is_paused_until_the_network_is_ready(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        seen: list[object] = []

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            seen.append("entered")
            yield
            seen.append(self.state(made))
            seen.append(self.driver.console_log(made.uuid))

        self.driver.spawn(made, network=network())
        self.assertEqual(["entered", PowerState.PAUSED, b""], seen)
        self.assertIs(self.state(made), PowerState.RUNNING)

    def test_network_that_fails_leaves_nothing(self) -> None:
        class NeverReadyError(Exception):
            pass

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            yield
            raise NeverReadyError

        made = self.make_guest()
        with self.assertRaises(NeverReadyError):
            self.driver.spawn(made, network=network())
        self.assertNotIn(made.uuid, self.listed())
        self.assertEqual((), self.driver.audit())

    def test_guest_can_be_made_without_power(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            self.fail("there is nothing to wait for")
            yield

        info = self.driver.spawn(made, network=network(), power_on=False)
        self.assertIs(info.state, PowerState.STOPPED)
        self.driver.start(made.uuid)
        self.assertIs(self.state(made), PowerState.RUNNING)

    def test_missing_image_leaves_nothing(self) -> None:
        guest = self.make_guest(image=Image(location="/nonexistent/image.qcow2"))
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.spawn(guest)
        self.assert_nothing_left(guest)

    def test_device_that_the_architecture_lacks_leaves_nothing(self) -> None:
        guest = self.make_guest(architecture="s390x", interfaces=(Interface(model=NicModel.E1000),))
        with self.assertRaises(exceptions.ComputeDriverError):
            self.driver.spawn(guest)
        self.assert_nothing_left(guest)

    def assert_nothing_left(self, guest: Guest) -> None:
        self.assertNotIn(guest.uuid, self.listed())
        self.assertFalse([f for f in self.driver.audit() if guest.uuid in f.subject])

    def test_unknown_guest_is_refused_by_every_verb(self) -> None:
        for name, verb in VERBS.items():
            with self.subTest(name), self.assertRaises(exceptions.GuestNotFound):
                verb(self.driver, str(uuid.uuid4()))

    def test_unknown_name_is_not_found(self) -> None:
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.find("no-such-guest")

    # Console, screen, statistics

    def test_console_log_can_be_cut_to_the_latest_bytes(self) -> None:
        guest = self.shared()
        whole = self.driver.console_log(guest.uuid)
        self.assertEqual(whole[-10:], self.driver.console_log(guest.uuid, max_bytes=10)[-10:])
        self.assertEqual(10, len(self.driver.console_log(guest.uuid, max_bytes=10)))
        self.assertEqual(b"", self.driver.console_log(guest.uuid, max_bytes=0))

    def test_waiting_for_what_never_comes_times_out(self) -> None:
        started = time.monotonic()
        with self.assertRaises(exceptions.OperationTimeout):
            self.driver.console_wait(self.shared().uuid, "never written", timeout=0.3)
        self.assertLess(time.monotonic() - started, 5)

    def test_console_sends_and_receives_for_one_at_a_time(self) -> None:
        guest = self.shared()
        marker = f"marker-{os.getpid()}"
        session = self.driver.console_attach(guest.uuid)
        try:
            with self.assertRaises(exceptions.GuestBusy):
                self.driver.console_attach(guest.uuid)
            session.send(f"echo {marker}\r".encode())
            self.assertIn(marker.encode(), self.received(session.receive, marker))
        finally:
            session.close()
        self.driver.console_attach(guest.uuid).close()

    def received(self, receive: Callable[[], bytes], marker: str) -> bytes:
        """Return what comes until *marker* has come, or until nothing more does."""
        data = b""

        def read() -> None:
            nonlocal data
            while marker.encode() not in data and (chunk := receive()):
                data += chunk

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(30)
        return data

    def test_console_that_is_not_served_has_no_address(self) -> None:
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "serial_listen"):
            self.driver.console_address(self.shared().uuid)

    def test_screenshot_is_a_png(self) -> None:
        picture = self.driver.screenshot(self.shared().uuid)
        self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
        self.assertIn(b"IEND", picture[-12:])

    def test_screen_is_served_at_a_port_of_its_own(self) -> None:
        found = self.driver.display(self.shared().uuid)
        self.assertEqual(
            (DisplayKind.VNC, "127.0.0.1", None), (found.kind, found.host, found.tls_port)
        )
        self.assertEqual(found, self.driver.display(self.shared().uuid, kind=DisplayKind.VNC))
        other = self.spawn()
        self.assertNotEqual(found.port, self.driver.display(other.uuid).port)

    def test_screen_that_is_not_served_is_none(self) -> None:
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "SPICE.* spice_listen"):
            self.driver.display(self.shared().uuid, kind=DisplayKind.SPICE)
        blind = self.spawn(video=VideoModel.NONE)
        with self.assertRaises(exceptions.ConsoleUnavailable):
            self.driver.display(blind.uuid)

    def test_stats_of_one_and_of_all(self) -> None:
        guest = self.shared()
        (stats,) = self.driver.stats(guest.uuid)
        self.assertEqual((guest.uuid, guest.name), (stats.uuid, stats.name))
        self.assertIs(stats.state, PowerState.RUNNING)
        self.assertEqual(guest.vcpus, stats.vcpus)
        self.assertGreater(stats.cpu_time_ns, 0)
        self.assertGreater(stats.memory_bytes, 0)
        self.assertEqual(len(guest.interfaces), len(stats.interfaces))
        for interface, nic in zip(stats.interfaces, guest.interfaces, strict=True):
            uncounted = nic.kind is InterfaceKind.USER
            self.assertEqual(uncounted, interface.received_bytes is None)
            self.assertEqual(uncounted, interface.sent_packets is None)
        self.assertIn(guest.uuid, [each.uuid for each in self.driver.stats()])

    # The host

    def test_host_is_described(self) -> None:
        self.shared()
        host = self.driver.host_show()
        self.assertTrue(host.hostname)
        self.assertGreater(host.cpus, 0)
        self.assertGreaterEqual(host.memory_bytes, host.memory_free_bytes)
        self.assertGreaterEqual(host.disk_bytes, host.disk_free_bytes)
        self.assertTrue(host.architectures)
        for each in host.architectures:
            self.assertIsNotNone(each.accelerator)
            self.assertTrue(each.reason)

    def test_host_check_gives_verdicts(self) -> None:
        checks = self.driver.host_check()
        self.assertTrue(checks)
        for check in checks:
            self.assertIn(check.verdict, ("ok", "absent", "warning", "failure"))
            self.assertTrue(check.subject and check.detail)
            self.assertTrue(check.verdict == "ok" or check.remedy, check)

    def test_audit_finds_nothing_wrong_with_a_sound_guest(self) -> None:
        self.shared()
        self.assertEqual((), self.driver.audit())
        self.assertEqual((), self.driver.audit(repair=True))
        self.assert_unharmed(self.shared())

    # Power; every test of the shared guest leaves it running

    # Images

    def test_image_is_cached_once_and_kept_while_a_guest_needs_it(self) -> None:
        with tempfile.NamedTemporaryFile(suffix=".qcow2") as file:
            source = self.make_image(Path(file.name))
            self.assertTrue(self.driver.image_cache(source))
            self.assertFalse(self.driver.image_cache(source))
            guest = self.make_guest(image=source, root=Disk(size_bytes=GIB), interfaces=())
            self.addCleanup(self.driver.destroy, guest.uuid)
            self.driver.spawn(guest, power_on=False)
            (entry,) = (e for e in self.driver.image_list() if guest.uuid in e.guests)
            self.assertEqual(source.location, entry.source)
            self.assertNotIn(entry, self.driver.image_prune(unused=3600))
            self.assertNotIn(entry.path, [e.path for e in self.driver.image_prune(unused=0)])
            self.driver.destroy(guest.uuid)
            self.assertIn(entry.path, [e.path for e in self.driver.image_prune(unused=0)])
            self.assertNotIn(entry.path, [e.path for e in self.driver.image_list()])

    def make_image(self, path: Path) -> Image:
        """Make an empty disk image; what boots has no part in this."""
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"]
        subprocess.run(argv, check=True)
        return Image(location=str(path), format=DiskFormat.QCOW2)

    def test_image_that_is_not_there_is_not_cached(self) -> None:
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.image_cache(Image(location="/no/such/image"))

    def test_pause_and_resume(self) -> None:
        guest = self.shared()
        for _twice in range(2):
            self.driver.pause(guest.uuid)
            self.assertIs(self.state(guest), PowerState.PAUSED)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.reboot(guest.uuid, kind=RebootKind.SOFT)
        for _twice in range(2):
            self.driver.resume(guest.uuid)
            self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_changes_of_state_are_told_when_an_operation_ends(self) -> None:
        guest = self.shared()
        told: queue.SimpleQueue[tuple[str, PowerState]] = queue.SimpleQueue()
        self.driver.subscribe(lambda uuid, state: told.put((uuid, state)))

        def until(state: PowerState) -> list[tuple[str, PowerState]]:
            return list(iter(lambda: told.get(timeout=30), (guest.uuid, state)))

        self.driver.pause(guest.uuid)
        self.assertEqual([], until(PowerState.PAUSED))
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)
        self.driver.pause(guest.uuid)
        self.assertNotIn((guest.uuid, PowerState.STOPPED), until(PowerState.PAUSED))
        self.driver.resume(guest.uuid)
        until(PowerState.RUNNING)

    def test_suspended_guest_is_resumed_or_started_where_it_was(self) -> None:
        guest = self.shared()
        boots = self.driver.console_log(guest.uuid).count(self.banner.encode())
        for awake in (self.driver.resume, self.driver.start):
            for _twice in range(2):
                self.driver.suspend(guest.uuid)
                self.assertIs(self.state(guest), PowerState.SUSPENDED)
            with self.assertRaises(exceptions.InvalidGuestState):
                self.driver.pause(guest.uuid)
            awake(guest.uuid)
            self.assertIs(self.state(guest), PowerState.RUNNING)
        log = self.driver.console_log(guest.uuid)
        self.assertEqual(boots, log.count(self.banner.encode()))

    def test_running_and_paused_guests_are_started_without_a_boot(self) -> None:
        guest = self.shared()
        self.driver.start(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)
        self.driver.pause(guest.uuid)
        self.driver.start(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_stopped_guest_stays_and_takes_few_verbs(self) -> None:
        guest = self.shared()
        for _twice in range(2):
            self.driver.stop(guest.uuid, timeout=0)
            self.assertIs(self.state(guest), PowerState.STOPPED)
        self.assertIn(guest.uuid, self.listed())
        self.assertIn(self.banner.encode(), self.driver.console_log(guest.uuid))
        refused: dict[str, Callable[[], object]] = {
            "pause": lambda: self.driver.pause(guest.uuid),
            "resume": lambda: self.driver.resume(guest.uuid),
            "suspend": lambda: self.driver.suspend(guest.uuid),
            "soft reboot": lambda: self.driver.reboot(guest.uuid),
            "inject_nmi": lambda: self.driver.inject_nmi(guest.uuid),
            "screenshot": lambda: self.driver.screenshot(guest.uuid),
            "display": lambda: self.driver.display(guest.uuid),
            "console_attach": lambda: self.driver.console_attach(guest.uuid),
            "console_address": lambda: self.driver.console_address(guest.uuid),
            "console_wait": lambda: self.driver.console_wait(guest.uuid, "never", timeout=5),
        }
        for name, verb in refused.items():
            with self.subTest(name), self.assertRaises(exceptions.InvalidGuestState):
                verb()
        self.assertEqual((), self.driver.stats(guest.uuid)[0].interfaces)
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)

    def test_stop_asks_the_guest_and_start_boots_it(self) -> None:
        guest = self.shared()
        self.driver.stop(guest.uuid)
        self.assertIs(self.state(guest), PowerState.STOPPED)
        with self.boots(guest):
            self.driver.start(guest.uuid)

    def test_interrupt_cannot_be_masked_and_waits_for_a_paused_guest(self) -> None:
        guest = self.shared()
        for pause in (False, True):
            before = len(self.driver.console_log(guest.uuid))
            if pause:
                self.driver.pause(guest.uuid)
            self.driver.inject_nmi(guest.uuid)
            self.driver.resume(guest.uuid)
            self.driver.console_wait(
                guest.uuid, "NMI received", timeout=BOOT_TIMEOUT, skip_bytes=before
            )

    def test_soft_reboot(self) -> None:
        guest = self.shared()
        with self.boots(guest):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(guest.uuid, kind=RebootKind.SOFT))

    def test_console_session_ends_with_the_guest(self) -> None:
        guest = self.shared()
        session = self.driver.console_attach(guest.uuid)
        self.addCleanup(session.close)
        self.driver.stop(guest.uuid, timeout=0)
        self.received(session.receive, "never written")
        self.assertEqual(b"", session.receive())
        with self.boots(guest):
            self.driver.start(guest.uuid)

    # Snapshots

    def snapshot_directory(self) -> Path:
        """Return a directory for images, which goes with the test."""
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        return Path(home.name)

    def test_snapshot_of_a_running_guest_boots_elsewhere(self) -> None:
        guest = self.shared()
        target = self.snapshot_directory() / "image.qcow2"
        reported: list[tuple[int, int]] = []
        self.driver.snapshot(
            guest.uuid, target, progress=lambda _what, done, total: reported.append((done, total))
        )
        self.assertIs(self.state(guest), PowerState.RUNNING)
        self.assertEqual([target], list(target.parent.iterdir()))
        self.assertEqual(0o600, target.stat().st_mode & 0o777)
        self.assertTrue(all(done <= total for done, total in reported))
        copy = self.make_guest(image=Image(location=str(target)))
        self.addCleanup(self.driver.destroy, copy.uuid)
        self.driver.spawn(copy)
        self.driver.console_wait(copy.uuid, self.banner, timeout=BOOT_TIMEOUT)

    def test_snapshot_leaves_a_guest_in_its_state(self) -> None:
        guest = self.shared()
        directory = self.snapshot_directory()
        for enter, state in (
            (self.driver.pause, PowerState.PAUSED),
            (self.driver.suspend, PowerState.SUSPENDED),
            (lambda uuid: self.driver.stop(uuid, timeout=0), PowerState.STOPPED),
        ):
            enter(guest.uuid)
            for image_format in SnapshotFormat:
                target = directory / f"{state}.{image_format}"
                self.driver.snapshot(guest.uuid, target, image_format=image_format)
                self.assertTrue(target.stat().st_size)
            self.assertIs(self.state(guest), state)
        with self.boots(guest):
            self.driver.start(guest.uuid)

    def test_snapshot_is_of_the_format_that_its_suffix_says(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        directory = self.snapshot_directory()

        def beginning(name: str, image_format: SnapshotFormat | None = None) -> bytes:
            self.driver.snapshot(guest.uuid, directory / name, image_format=image_format)
            with (directory / name).open("rb") as file:
                return file.read(8)

        raw = beginning("raw.qcow2", SnapshotFormat.RAW)
        qcow2 = beginning("qcow2.raw", SnapshotFormat.QCOW2)
        self.assertNotEqual(raw, qcow2)
        for name, expected in {"a.raw": raw, "a.IMG": raw, "a.qcow2": qcow2, "a": qcow2}.items():
            self.assertEqual(expected, beginning(name), name)

    def test_snapshot_that_cannot_be_leaves_nothing(self) -> None:
        guest = self.shared()
        directory = self.snapshot_directory()
        taken = directory / "taken"
        taken.write_bytes(b"mine")
        for target in (taken, directory, directory / "none" / "image"):
            with self.subTest(target), self.assertRaises(exceptions.InvalidParameter):
                self.driver.snapshot(guest.uuid, target)
        self.assertEqual([taken], list(directory.iterdir()))
        self.assertEqual(b"mine", taken.read_bytes())

    # Rescue

    def image_of(self, guest: Guest) -> Image:
        """Return the guest's image; for drivers that do not need any, a file that is there."""
        return guest.image or Image(location=__file__)

    def test_rescued_guest_boots_another_system_until_it_is_unrescued(self) -> None:
        guest = self.shared()
        wanted = Rescue(image=self.image_of(guest))
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.unrescue(guest.uuid)
        with self.boots(guest):
            self.driver.rescue(guest.uuid, wanted)
        self.assertIsNotNone(self.driver.show(guest.uuid).guest.rescue)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.rescue(guest.uuid, wanted)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.resize(guest.uuid, guest)
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)
        self.driver.stop(guest.uuid, timeout=0)
        with self.boots(guest):
            self.driver.start(guest.uuid)
        self.assertIsNotNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual((), self.driver.audit())
        with self.boots(guest):
            self.driver.unrescue(guest.uuid)
        self.assertIsNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual((), self.driver.audit())

    def test_rescue_that_cannot_be_leaves_the_guest_running(self) -> None:
        guest = self.shared()
        image = self.image_of(guest)
        log = self.driver.console_log(guest.uuid)
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.rescue(guest.uuid, RESCUE)
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.rescue(guest.uuid, Rescue(image=image, bus=DiskBus.IDE))
        self.driver.pause(guest.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.rescue(guest.uuid, Rescue(image=image))
        self.driver.resume(guest.uuid)
        self.assertIsNone(self.driver.show(guest.uuid).guest.rescue)
        self.assertEqual(log, self.driver.console_log(guest.uuid))
        self.assertEqual((), self.driver.audit())

    # The guest's agent

    def test_guest_without_a_channel_has_no_agent(self) -> None:
        guest = self.spawn(guest_agent=False)
        target = self.snapshot_directory() / "image"
        asked: dict[str, Callable[[], object]] = {
            "quiesce": lambda: self.driver.quiesce(guest.uuid),
            "unquiesce": lambda: self.driver.unquiesce(guest.uuid),
            "password": lambda: self.driver.set_password(guest.uuid, "secret"),
            "snapshot": lambda: self.driver.snapshot(guest.uuid, target, quiesce=Quiesce.REQUIRE),
        }
        for name, verb in asked.items():
            with self.subTest(name), self.assertRaises(exceptions.AgentUnavailable):
                verb()
        self.assertFalse(target.exists())
        self.driver.snapshot(guest.uuid, target)
        target.unlink()
        self.driver.pause(guest.uuid)
        for name, verb in asked.items():
            with self.subTest(f"{name}, paused"), self.assertRaises(exceptions.InvalidGuestState):
                verb()
        self.driver.stop(guest.uuid, timeout=0)
        self.driver.snapshot(guest.uuid, target, quiesce=Quiesce.REQUIRE)

    # What is told to a guest, and interfaces

    def test_places_of_devices_are_told_before_the_guest_starts(self) -> None:
        seen: list[GuestInfo] = []

        def make_config_drive(info: GuestInfo) -> ConfigDrive:
            seen.append(info)
            return ConfigDrive(hostname="told")

        guest = self.make_guest(config_drive=ConfigDrive(hostname="placeholder"))
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False, make_config_drive=make_config_drive)
        (info,) = seen
        self.assertIs(info.state, PowerState.STOPPED)
        found = {device.mac: device for device in info.devices}
        nic = found[guest.interfaces[0].mac]
        self.assertEqual("pci", nic.bus)
        self.assertRegex(nic.address, r"\A0000:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
        self.assertEqual(info.devices, made.devices)

    def test_interface_is_attached_and_detached(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        added = Interface()
        self.driver.attach_interface(guest.uuid, added)
        self.assertEqual((*guest.interfaces, added), self.interfaces(guest))
        self.assertEqual(2, len(self.driver.stats(guest.uuid)[0].interfaces))
        self.assertIn(added.mac, [each.mac for each in self.driver.show(guest.uuid).devices])
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.attach_interface(guest.uuid, added)
        self.driver.detach_interface(guest.uuid, added.mac.upper())
        self.assertEqual(guest.interfaces, self.interfaces(guest))
        self.assertEqual(1, len(self.driver.stats(guest.uuid)[0].interfaces))
        with self.assertRaises(exceptions.InterfaceNotFound):
            self.driver.detach_interface(guest.uuid, added.mac)

    def test_interfaces_of_a_guest_that_is_off_are_changed(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        added = Interface()
        self.driver.attach_interface(guest.uuid, added)
        self.driver.detach_interface(guest.uuid, guest.interfaces[0].mac)
        self.assertEqual((added,), self.interfaces(guest))
        self.driver.start(guest.uuid)
        self.assertEqual((added,), self.interfaces(guest))
        self.assertEqual(1, len(self.driver.stats(guest.uuid)[0].interfaces))
        self.driver.suspend(guest.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.attach_interface(guest.uuid, Interface())
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.detach_interface(guest.uuid, added.mac)

    def test_interfaces_of_a_guest_that_is_off_are_replaced_in_order_or_not_at_all(self) -> None:
        first, second = Interface(), Interface()
        guest = self.make_guest(interfaces=(first, second))
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        changed = dataclasses.replace(first, model=NicModel.E1000)
        for wanted in ((changed, second), (second, Interface(), changed), ()):
            self.driver.replace_interfaces(guest.uuid, wanted)
            self.assertEqual(wanted, self.interfaces(guest))
        self.driver.replace_interfaces(guest.uuid, [first, second])
        many = Interface(kind=InterfaceKind.BRIDGE, source="br0", queues=guest.vcpus + 1)
        for refused in ((first, first), (Interface(), many)):
            with self.assertRaises(exceptions.InvalidParameter):
                self.driver.replace_interfaces(guest.uuid, refused)
        self.assertEqual((first, second), self.interfaces(guest))
        self.driver.start(guest.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.replace_interfaces(guest.uuid, ())
        self.assertEqual((first, second), self.interfaces(guest))
        self.assertEqual(2, len(self.driver.stats(guest.uuid)[0].interfaces))

    def interfaces(self, guest: Guest) -> tuple[Interface, ...]:
        return self.driver.show(guest.uuid).guest.interfaces

    # Resize

    def test_resized_guest_runs_in_its_new_size_and_can_be_reverted(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        larger = dataclasses.replace(guest, memory_mib=guest.memory_mib + 64)
        with self.boots(guest):
            self.driver.resize(guest.uuid, larger)
        shown = self.driver.show(guest.uuid)
        self.assertEqual((larger, guest), (shown.guest, shown.before))
        with self.assertRaises(exceptions.InvalidGuestState):
            self.driver.resize(guest.uuid, larger)
        self.assertEqual((), self.driver.audit())
        with self.boots(guest):
            self.driver.revert_resize(guest.uuid)
        shown = self.driver.show(guest.uuid)
        self.assertEqual((guest, None), (shown.guest, shown.before))
        self.driver.revert_resize(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_resize_of_a_stopped_guest_is_confirmed(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        guest = self.driver.spawn(made, power_on=False).guest
        assert guest.root is not None
        grown = dataclasses.replace(guest.root, size_bytes=guest.root.size_bytes * 2)
        swap = Disk(size_bytes=MIB)
        larger = dataclasses.replace(guest, root=grown, swap=swap, ephemerals=(swap,))
        self.driver.resize(guest.uuid, larger)
        self.assertIs(self.state(guest), PowerState.STOPPED)
        for _twice in range(2):
            self.driver.confirm_resize(guest.uuid)
            shown = self.driver.show(guest.uuid)
            self.assertEqual((larger, None), (shown.guest, shown.before))
        self.driver.revert_resize(guest.uuid)
        self.assertEqual(larger, self.driver.show(guest.uuid).guest)
        self.assertEqual((), self.driver.audit())

    def test_what_cannot_be_resized_is_refused_and_left_as_it_is(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        assert guest.root is not None
        smaller = dataclasses.replace(guest.root, size_bytes=512)
        for changes in ({"root": smaller}, {"name": "another"}):
            with self.subTest(changes), self.assertRaises(exceptions.InvalidParameter):
                self.driver.resize(guest.uuid, dataclasses.replace(guest, **changes))
        self.driver.check_resize(guest.uuid, dataclasses.replace(guest, memory_mib=256))
        self.driver.check_resize(guest.uuid, guest)  # the same size is no reason
        shown = self.driver.show(guest.uuid)
        self.assertEqual((guest, None), (shown.guest, shown.before))
        self.assert_unharmed(guest)

    def test_resized_guest_is_destroyed_with_all_that_was_kept(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        self.driver.resize(guest.uuid, dataclasses.replace(guest, memory_mib=256))
        self.driver.destroy(guest.uuid)
        self.assert_nothing_left(guest)

    def test_guest_of_which_the_files_were_kept_comes_back(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False)
        self.driver.resize(guest.uuid, dataclasses.replace(made.guest, memory_mib=256))
        for bring_back, expected in (
            (lambda: self.driver.revert_resize(guest.uuid), made.guest),
            (lambda: self.driver.spawn(guest, power_on=False), made.guest),
        ):
            for _twice in range(2):
                self.driver.destroy(guest.uuid, keep_files=True)
                self.assertNotIn(guest.uuid, self.listed())
                self.assertEqual(guest.uuid, self.driver.find(guest.uuid))
            bring_back()
            self.assertEqual(expected, self.driver.show(guest.uuid).guest)
        self.driver.destroy(guest.uuid, keep_files=True)
        self.driver.destroy(guest.uuid)
        self.assert_nothing_left(guest)

    def test_spawn_that_fails_leaves_what_was_kept(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False).guest
        self.driver.destroy(guest.uuid, keep_files=True)

        def make_config_drive(info: GuestInfo) -> None:
            raise RuntimeError

        taken = dataclasses.replace(guest, name=self.shared().name)
        for failing, failure in (
            (lambda: self.driver.spawn(guest, make_config_drive=make_config_drive), RuntimeError),
            (lambda: self.driver.spawn(taken), exceptions.GuestExists),
        ):
            with self.assertRaises(failure):
                failing()
            self.assertNotIn(guest.uuid, self.listed())
        self.driver.revert_resize(guest.uuid)
        self.assertEqual(made, self.driver.show(guest.uuid).guest)

    # Destroy, and two at once

    def test_destroyed_guest_is_gone_and_its_name_free(self) -> None:
        guest = self.spawn()
        for _twice in range(2):
            self.driver.destroy(guest.uuid)
        self.assertNotIn(guest.uuid, self.listed())
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.find(guest.name)
        again = self.spawn(name=guest.name)
        self.driver.stop(again.uuid, timeout=0)
        self.driver.destroy(again.uuid)
        self.assert_nothing_left(guest)

    def test_destroying_what_is_not_there_is_no_error(self) -> None:
        for name in (str(uuid.uuid4()), "x", ""):
            with self.subTest(name):
                self.driver.destroy(name)

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
        """Make calls at the same time; raise what the first to fail raised."""
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
