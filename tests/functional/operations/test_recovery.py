# SPDX-License-Identifier: Apache-2.0
"""Sudden deaths of the driver, of libvirt and of guests, and the recovery from the deaths."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import marks, redefining
from compute_driver.operations.base.context import Parts
from compute_driver.xml.present import Present
from tests.functional import base, tiny, worker
from tests.functional.command import CommandLine
from tests.functional.recovery import RecoveryTestCase
from tests.image_server import ImageServer

SPAWN_POINTS = ("directory made", "disk made", "domain defined", "guest started")
DESTROY_POINTS = ("guest powered off", "domain undefined")

#: Seconds by which a forced end may be later than its deadline, on a busy machine.
SLACK = 15.0


class TestInterruptedOperations(RecoveryTestCase):
    def test_the_next_driver_undoes_a_killed_spawn(self) -> None:
        before = tiny.kept()
        for point in SPAWN_POINTS:
            with self.subTest(point):
                self.kill_at(point, "spawn", str(uuid.uuid4()))
                self.assertNotEqual(before, tiny.kept())
                driver = self.other_driver()
                self.assertEqual(before, tiny.kept())
                self.assertEqual((), driver.audit())

    def test_the_next_spawn_of_the_guest_undoes_a_killed_spawn(self) -> None:
        made = tiny.guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        self.kill_at("guest started", "spawn", made.uuid)
        self.driver.spawn(made)
        self.assertEqual([made.uuid], [*tiny.emulators()])

    def test_the_next_driver_finishes_a_killed_destroy(self) -> None:
        for point in DESTROY_POINTS:
            with self.subTest(point):
                made = self.spawn_tiny()
                self.kill_at(point, "destroy", made.uuid)
                driver = self.other_driver()
                self.assertEqual((), driver.list())
                self.assertEqual(set(), tiny.files())

    def test_killed_spawn_of_a_taken_uuid_does_no_harm(self) -> None:
        made = self.spawn_tiny()
        before = tiny.kept()
        self.kill_at("noted", "spawn", made.uuid)
        self.other_driver().list()
        self.assertEqual(before, tiny.kept())

    def test_killed_spawn_of_a_guest_with_kept_files_leaves_the_files(self) -> None:
        made = self.spawn_tiny()
        self.driver.destroy(made.uuid, keep_files=True)
        before = tiny.kept()
        for point in ("domain defined", "guest started"):
            with self.subTest(point):
                self.kill_at(point, "spawn", made.uuid)
                (finding,) = self.other_driver().audit()
                self.assertEqual("kept directory", finding.kind)
                self.assertEqual(before["emulators"], tiny.emulators())
        self.kill_at("guest started", "spawn", made.uuid)
        self.driver.spawn(made)
        self.assertEqual((), self.driver.audit())

    def test_failed_spawn_of_a_guest_with_kept_files_leaves_its_description(self) -> None:
        made = self.spawn_tiny()
        self.driver.destroy(made.uuid, keep_files=True)
        (description,) = base.state_path().glob("instances/*/domain.xml")
        before = description.read_bytes()
        failure = mock.patch.object(libvirt.virDomain, "create", side_effect=tiny.libvirt_error())
        with failure, self.assertRaises(exceptions.LibvirtError):
            self.driver.spawn(dataclasses.replace(made, memory_mib=24))
        self.assertEqual(before, description.read_bytes())

    def test_the_next_spawn_continues_a_killed_fetch(self) -> None:
        server = ImageServer(Path(base.disk_image().location).read_bytes())
        self.addCleanup(server.close)
        server.gate.clear()
        with worker.running("spawn", image=server.url):
            server.wait_for(1, "GET")
            _wait_for_part()
        server.gate.set()
        driver = self.other_driver()
        self.assertEqual((), driver.list())
        self.assertEqual({"images"}, {path.parts[0] for path in tiny.files()})
        with worker.running("cycle", image=server.url) as other:
            self.assertEqual(worker.DONE, other.says())
        first, second = server.gets()
        self.assertIsNone(first.range)
        self.assertRegex(second.range or "", r"bytes=[1-9]\d*-")

    def test_guest_that_a_user_has_stopped_stays_off(self) -> None:
        made = self.spawn_tiny()
        for point in ("guest powered off", "start noted", "guest started"):
            with self.subTest(point):
                self.kill_at(point, "reboot", made.uuid)
                self.driver.stop(made.uuid, timeout=0)
                self.assertIs(PowerState.STOPPED, self.other_driver().show(made.uuid).state)
                self.driver.start(made.uuid)
        self.kill_at("guest started", "reboot", made.uuid)
        tiny.libvirt_connection(self).lookupByUUIDString(made.uuid).destroy()
        self.assertIs(PowerState.STOPPED, self.other_driver().show(made.uuid).state)

    def test_end_of_a_guest_whose_reboot_was_killed_does_not_start_it(self) -> None:
        line = CommandLine.of_root()
        for command in (["stop", "--timeout", "0"], ["destroy"]):
            for point in ("guest powered off", "start noted"):
                with self.subTest(command, point=point):
                    made = self.spawn_tiny()
                    self.kill_at(point, "reboot", made.uuid)
                    with self.driver._parts.connection.watch(made.uuid) as watch:
                        self.assertEqual(0, line.run(*command, made.name).status)
                        started = watch.wait({libvirt.VIR_DOMAIN_EVENT_STARTED}, time.monotonic())
                    self.assertIsNone(started)
                    self.assertEqual({}, tiny.emulators())
                    self.driver.destroy(made.uuid)

    def test_next_question_and_next_listener_let_a_guest_run_again(self) -> None:
        asked: tuple[Callable[[LibvirtDriver, str], object], ...] = (
            lambda driver, _uuid: driver.list(),
            lambda driver, uuid: driver.console_log(uuid),
            lambda driver, _uuid: driver.subscribe(lambda _uuid, _state: None),
        )
        made = self.spawn_tiny()
        for ask in asked:
            self.kill_at("guest powered off", "reboot", made.uuid)
            ask(self.other_driver(), made.uuid)
            self.assertEqual([made.uuid], [*tiny.emulators()])

    def test_guest_stays_on_if_libvirt_dies_with_the_command_before_the_start(self) -> None:
        made = self.spawn_tiny()
        with worker.running("reboot", made.uuid, pause="start noted") as other:
            self.assertEqual(worker.PAUSED, other.says())
            self.kill_libvirt()
        self.other_driver().list()
        self.assertEqual([made.uuid], [*tiny.emulators()])

    def test_guests_that_hang_are_named_once_and_can_be_ended(self) -> None:
        verbs: tuple[Callable[[str], object], ...] = (
            lambda uuid: self.driver.reboot(uuid, kind=RebootKind.HARD),
            lambda uuid: self.driver.stop(uuid, timeout=2),
            self.driver.destroy,
        )
        guests = [self.spawn_tiny() for _verb in verbs]
        with contextlib.ExitStack() as killed:
            for made in guests:
                reboot = worker.running("reboot", made.uuid, pause="guest started")
                self.assertEqual(worker.PAUSED, killed.enter_context(reboot).says())
        hung = tiny.emulators()
        for emulator in hung.values():
            os.kill(emulator, signal.SIGSTOP)
        with (
            mock.patch.object(domains, "ANSWER_SECONDS", 2.0),
            self.assertLogs("compute_driver.operations.base.journal", logging.WARNING) as logged,
        ):
            self.other_driver().list()
            with self.assertRaises(exceptions.OperationTimeout):
                self.driver.pause(guests[0].uuid)
        late = [text for text in logged.output if "cannot be put in order yet" in text]
        self.assertEqual(
            sorted(made.uuid for made in guests), sorted(text.split()[1] for text in late)
        )
        # libvirt itself takes a while to end an emulator that hangs.
        ends = [self.background(verb, made.uuid) for verb, made in zip(verbs, guests, strict=True)]
        for end in ends:
            end.result(2 * SLACK)
        self.assertNotEqual(hung[guests[0].uuid], tiny.emulators()[guests[0].uuid])
        self.assertEqual([guests[0].uuid], [*tiny.emulators()])

    def test_spawn_in_another_process_is_left_alone(self) -> None:
        number = str(uuid.uuid4())
        self.addCleanup(self.driver.destroy, number)
        for point in SPAWN_POINTS:
            with self.subTest(point), worker.running("spawn", number, pause=point) as other:
                self.assertEqual(worker.PAUSED, other.says())
                driver = self.other_driver()
                self.assertEqual((), driver.audit(repair=True))
                other.go_on()
                self.assertEqual(worker.DONE, other.says())
                self.assertIs(PowerState.RUNNING, driver.show(number).state)
            self.driver.destroy(number)

    def test_a_removal_that_fails_is_repeated_later(self) -> None:
        self.kill_at("disk made", "spawn", str(uuid.uuid4()))
        before = tiny.files()
        refusal = mock.patch.object(shutil, "rmtree", side_effect=PermissionError("no"))
        with refusal:
            driver = self.other_driver()
            self.assertEqual((), driver.list())
            self.assertEqual(1, len(driver.audit()))
        self.assertEqual(before, tiny.files())
        self.other_driver()
        self.assertEqual(set(), tiny.files())

    def test_an_undo_that_fails_is_repeated_later(self) -> None:
        made = tiny.guest()
        refusal = mock.patch.object(shutil, "rmtree", side_effect=PermissionError("no"))
        failure = mock.patch.object(libvirt.virDomain, "create", side_effect=tiny.libvirt_error())
        with refusal, failure, self.assertRaises(exceptions.LibvirtError):
            self.driver.spawn(made)
        self.assertNotEqual(set(), tiny.files())
        self.other_driver()
        self.assertEqual(set(), tiny.files())


def _wait_for_part() -> None:
    """Return when the cache has the first bytes of an image."""
    deadline = time.monotonic() + base.BOOT_TIMEOUT
    while time.monotonic() < deadline:
        parts = (base.state_path() / "images" / "tmp").glob("*.part")
        if any(part.stat().st_size for part in parts):
            return
        time.sleep(0.02)
    raise AssertionError("no byte of the image came")


class TestLibvirtKilled(RecoveryTestCase):
    def test_driver_and_guests_continue_without_libvirt(self) -> None:
        made = self.spawn_tiny()
        emulators = tiny.emulators()
        for _round in range(3):
            self.kill_libvirt()
            (info,) = self.driver.list()
            self.assertIs(PowerState.RUNNING, info.state)
            self.driver.pause(made.uuid)
            self.driver.resume(made.uuid)
        self.assertEqual(emulators, tiny.emulators())
        another = self.spawn_tiny()
        self.kill_libvirt()
        self.driver.destroy(made.uuid)
        self.assertEqual([another.uuid], [*tiny.emulators()])

    def test_a_stop_keeps_its_deadline(self) -> None:
        made = self.spawn_tiny()
        started = time.monotonic()
        stopping = self.background(self.driver.stop, made.uuid, timeout=3)
        self.kill_libvirt()
        stopping.result(SLACK)
        self.assertGreater(time.monotonic() - started, 3)
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)

    def test_a_wait_for_the_console_continues(self) -> None:
        made = self.spawn()
        waiting = self.background(
            self.driver.console_wait, made.uuid, "GUEST-ECHO: hello", timeout=base.BOOT_TIMEOUT
        )
        self.kill_libvirt()
        session = self.driver.console_attach(made.uuid)
        self.addCleanup(session.close)
        session.send(b"hello\r")
        waiting.result(base.BOOT_TIMEOUT)


class TestGuestsWithoutAnswer(RecoveryTestCase):
    def test_stop_of_a_guest_that_does_not_answer_is_forced(self) -> None:
        made = self.spawn_tiny()
        started = time.monotonic()
        self.driver.stop(made.uuid, timeout=2)
        self.assert_bounded(started, 2)
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)

    def test_soft_reboot_of_a_guest_that_does_not_answer_becomes_hard(self) -> None:
        made = self.spawn_tiny()
        emulators = tiny.emulators()
        started = time.monotonic()
        done = self.driver.reboot(made.uuid, kind=RebootKind.SOFT, timeout=2)
        self.assert_bounded(started, 2)
        self.assertIs(RebootKind.HARD, done)
        self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
        self.assertNotEqual(emulators, tiny.emulators())

    def test_soft_reboot_of_a_guest_that_does_not_answer_fails_on_demand(self) -> None:
        made = self.spawn_tiny()
        emulators = tiny.emulators()
        with self.assertRaisesRegex(exceptions.OperationTimeout, "did not reboot softly"):
            self.driver.reboot(made.uuid, kind=RebootKind.SOFT, timeout=1, fall_back=False)
        self.assertEqual(emulators, tiny.emulators())

    def test_emulator_that_hangs_is_replaced_at_the_deadline(self) -> None:
        self.enterContext(mock.patch.object(domains, "ANSWER_SECONDS", 2.0))  # with libvirt 11
        for verb in (
            lambda uuid: self.driver.reboot(uuid, kind=RebootKind.SOFT, timeout=2),
            lambda uuid: self.driver.stop(uuid, timeout=2),
        ):
            made = self.spawn_tiny()
            (hung,) = tiny.emulators().values()
            os.kill(hung, signal.SIGSTOP)
            started = time.monotonic()
            verb(made.uuid)
            self.assert_bounded(started, 2)
            self.assertNotIn(hung, tiny.emulators().values())
            self.driver.destroy(made.uuid)

    def test_emulator_that_hangs_is_ended_before_the_domain_is_read(self) -> None:
        made = self.spawn_tiny()
        (hung,) = tiny.emulators().values()
        os.kill(hung, signal.SIGSTOP)
        with self.held(), self.refused():
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))
        self.assertNotIn(hung, tiny.emulators().values())

    def test_guest_runs_on_while_its_domain_cannot_be_read(self) -> None:
        made, emulators = self.spawn_tiny(), tiny.emulators()
        with self.held(), self.refused():
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))
        self.assertEqual(emulators, tiny.emulators())

    def test_suspended_guest_keeps_its_memory_while_its_domain_cannot_be_read(self) -> None:
        made = self.spawn_tiny()
        self.driver.suspend(made.uuid)
        with self.held(), self.refused():
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.SUSPENDED, self.driver.state(made.uuid))

    def test_refused_reboot_keeps_the_run_that_an_interrupted_reboot_has_noted(self) -> None:
        made = self.spawn_tiny()
        marks.want(self.driver._parts, made.uuid, running=True)
        tiny.libvirt_connection(self).lookupByUUIDString(made.uuid).destroy()
        with self.refused():
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.other_driver().list()
        self.assertIs(PowerState.RUNNING, self.driver.state(made.uuid))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the first answer about a domain come later than an emulator may answer."""
        present, asked, ended = Parts.present, threading.Event(), threading.Event()

        def late(parts: Parts, uuid: str) -> Present | None:
            if not asked.is_set():
                asked.set()
                ended.wait(SLACK)
            return present(parts, uuid)

        with (
            mock.patch.object(Parts, "present", late),
            mock.patch.object(domains, "ANSWER_SECONDS", 0.5),
        ):
            try:
                yield
            finally:
                ended.set()

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Expect that a guest's domain cannot be built."""
        refusal = exceptions.DiskUnusable("gone")
        with (
            mock.patch.object(redefining, "rebuild", side_effect=refusal),
            self.assertRaises(exceptions.DiskUnusable),
        ):
            yield

    def assert_bounded(self, started: float, timeout: float) -> None:
        took = time.monotonic() - started
        self.assertGreaterEqual(took, timeout)
        self.assertLess(took, timeout + SLACK)

    def test_a_guest_that_powers_itself_off_is_stopped_with_an_event(self) -> None:
        made = self.spawn()
        with self.driver._parts.connection.watch(made.uuid) as watch:
            session = self.driver.console_attach(made.uuid)
            self.addCleanup(session.close)
            session.send(b"run poweroff\r")
            event = watch.wait({events.STOPPED}, time.monotonic() + base.BOOT_TIMEOUT)
        assert event is not None
        self.assertEqual(libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, event.detail)
        self.assert_stopped(made)

    def test_guest_whose_emulator_is_killed_is_stopped_and_starts_again(self) -> None:
        made = self.spawn_tiny()
        with self.driver._parts.connection.watch(made.uuid) as watch:
            os.kill(tiny.emulators()[made.uuid], signal.SIGKILL)
            self.assertIsNotNone(watch.wait({events.STOPPED}, time.monotonic() + SLACK))
        self.assert_stopped(made)
        self.driver.start(made.uuid)
        self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)

    def assert_stopped(self, made: Guest) -> None:
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)
        self.assertEqual({}, tiny.emulators())
