# SPDX-License-Identifier: Apache-2.0
"""An interrupted operation is ended first, and never prevents a removal."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.operations.base import journal, recovery, removal
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Note
from compute_driver.operations.base.need import Need
from compute_driver.system import concurrency
from tests.unit import base

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"
LOGGER = "compute_driver.operations.base.journal"


class NoteTest(unittest.TestCase):
    def test_note_is_read_as_it_was_written(self) -> None:
        for note in (Note("resize"), Note("destroy", remove=True), Note("spawn", undefine=True)):
            self.assertEqual(note, Note.read(str(note)))

    def test_rest_of_a_longer_note_says_nothing(self) -> None:
        longer = str(Note("destroy", remove=True))
        shorter = str(Note("stop"))
        mixed = shorter + longer[len(shorter) :]
        self.assertEqual(Note("stop"), Note.read(mixed))

    def test_file_without_a_note(self) -> None:
        self.assertIsNone(Note.read(""))

    def test_notes_of_one_word(self) -> None:
        for note in (
            Note("spawn", remove=True),
            Note("destroy", remove=True),
            Note("restore", undefine=True),
            Note("resize"),
            Note("unknown"),
        ):
            self.assertEqual(note, Note.read(note.operation))

    def test_new_spawn_that_has_made_nothing_removes_nothing(self) -> None:
        self.assertEqual(Note("spawn"), Note.read(str(Note("spawn"))))


class JournalTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.state = Path(place.name)
        self.lock = self.state / "locks" / UUID
        self.mend = self.replaced(recovery, "mend")
        self.remove = self.replaced(removal, "remove")

    def replaced(self, module: Any, name: str) -> mock.Mock:
        patch = mock.patch.object(module, name)
        self.addCleanup(patch.stop)
        return patch.start()  # type: ignore[no-any-return]

    def interrupt(self, text: str = str(Note("resize"))) -> None:
        with concurrency.lock(self.lock) as held:
            held.note(text)
            held.keep = True

    def parts(self) -> Any:
        parts = mock.create_autospec(Parts, instance=True)
        parts.conf = base.configuration(state_path=str(self.state))
        parts.connection = mock.Mock()
        parts.images = mock.Mock(holding=contextlib.nullcontext)
        parts.directory.side_effect = lambda uuid: self.state / "instances" / uuid
        parts.inventory = mock.Mock(instances=self.state / "instances")
        return parts

    def operation(self, name: str = "start", **options: Any) -> Any:
        return journal.operation(self.parts(), UUID, name, **options)

    def test_foreign_state_directory_is_told_once(self) -> None:
        parts = self.parts()
        refusal = exceptions.ConfigurationError("another user's directory")
        parts.connection = mock.Mock(run=mock.Mock(side_effect=refusal))
        parts.inventory = mock.Mock(instances=self.state / "instances")
        with (
            mock.patch("pathlib.Path.is_dir", side_effect=PermissionError),
            self.assertRaises(exceptions.ConfigurationError),
            self.assertNoLogs("compute_driver"),
        ):
            journal.recover(parts)

    def test_interrupted_operation_is_ended_first(self) -> None:
        self.interrupt()
        with self.operation():
            self.mend.assert_called_once()
            self.assertEqual(Note("start"), Note.read(self.lock.read_text()))
        self.assertFalse(self.lock.exists())

    def test_guest_that_is_to_be_removed_is_removed(self) -> None:
        for text in ("spawn", "destroy", str(Note("any", remove=True))):
            self.interrupt(text)
            self.remove.reset_mock()
            with self.operation():
                self.remove.assert_called_once()
        self.mend.assert_not_called()

    def test_operation_that_ended_is_not_mended(self) -> None:
        for _twice in range(2):
            with self.operation():
                pass
        self.mend.assert_not_called()

    def test_guest_that_cannot_be_put_in_order_is_tried_again(self) -> None:
        self.interrupt()
        self.mend.side_effect = exceptions.MetadataDamaged("damaged")
        with self.assertRaises(exceptions.MetadataDamaged), self.operation():
            self.fail("the operation goes on")
        self.assertEqual(Note("resize"), Note.read(self.lock.read_text()))

    def test_guest_that_cannot_be_put_in_order_can_be_removed(self) -> None:
        for error in (exceptions.MetadataDamaged("damaged"), exceptions.GuestNotFound(UUID)):
            self.interrupt()
            self.mend.side_effect = error
            with (
                self.subTest(error),
                self.assertLogs(LOGGER, logging.WARNING),
                self.operation("destroy", need=Need.NOTHING, removes=True),
            ):
                self.assertEqual(Note("destroy", True), Note.read(self.lock.read_text()))
            self.assertFalse(self.lock.exists())

    def test_guest_that_cannot_be_put_in_order_can_be_stopped(self) -> None:
        note = Note("spawn", remove=True)
        self.interrupt(str(note))
        self.remove.side_effect = exceptions.OpenVSwitchUnavailable("no answer")
        with (
            self.assertLogs(LOGGER, logging.WARNING),
            self.operation("stop", need=Need.NOTHING),
        ):
            self.assertEqual(note, Note.read(self.lock.read_text()))
        self.assertEqual(note, Note.read(self.lock.read_text()))

    def test_guest_whose_files_cannot_be_put_in_order_is_not_rebooted(self) -> None:
        self.interrupt()
        self.mend.side_effect = exceptions.HostError("no")
        with (
            self.assertRaises(exceptions.HostError),
            self.operation("reboot", need=Need.FILES),
        ):
            self.fail("the operation goes on")

    def test_only_the_parts_that_an_operation_needs_are_put_in_order(self) -> None:
        for need in Need:
            self.interrupt()
            with self.operation("reboot", need=need):
                self.assertIs(need, self.mend.call_args.args[-1])
            self.assertFalse(self.lock.exists())

    def test_run_that_is_not_in_order_is_not_forgotten_if_its_end_fails(self) -> None:
        self.interrupt()
        with self.assertRaises(ZeroDivisionError), self.operation("reboot", need=Need.FILES):
            raise ZeroDivisionError
        self.assertEqual(Note("reboot"), Note.read(self.lock.read_text()))

    def test_recovery_of_files_leaves_the_run_to_the_next_operation(self) -> None:
        self.interrupt()
        for need in (Need.FILES, Need.ALL):
            self.assertTrue(self.lock.exists())
            journal.recover(self.parts(), need)
            self.assertIs(need, self.mend.call_args.args[-1])
        self.assertFalse(self.lock.exists())

    def test_guests_that_hang_are_waited_for_at_the_same_time_and_named(self) -> None:
        gate, other = threading.Event(), UUID.replace("3", "4")
        self.interrupt()
        with concurrency.lock(self.lock.with_name(other)) as held:
            held.note(str(Note("resize")))
            held.keep = True
        ended = threading.Barrier(3)

        def hang(*_arguments: object) -> None:
            gate.wait()
            ended.wait()

        self.mend.side_effect = hang
        started = time.monotonic()
        with (
            mock.patch.object(journal, "_RECOVERY_SECONDS", 0.2),
            self.assertLogs(LOGGER, logging.WARNING) as logged,
        ):
            journal.recover(self.parts())
        self.assertLess(time.monotonic() - started, 10)
        late = [text for text in logged.output if "not in order yet" in text]
        self.assertEqual([True, True], [UUID in late[0], other in late[1]])
        gate.set()
        ended.wait(10)

    def test_lock_of_a_port_is_no_guest_and_goes_with_its_holder(self) -> None:
        dead, held = (self.state / "locks" / f"port-{number}" for number in (5900, 5901))
        self.interrupt()
        dead.touch()
        with (
            concurrency.lock(held),
            mock.patch.object(journal, "_recover", wraps=journal._recover) as recovered,
        ):
            journal.recover(self.parts())
            self.assertEqual([UUID], [call.args[2] for call in recovered.call_args_list])
            self.assertEqual([held], list(held.parent.iterdir()))

    def test_note_stays_if_a_power_on_is_neither_ended_nor_taken_back(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.operation():
            mark = self.state / "instances" / UUID / ".starting"
            mark.parent.mkdir(parents=True)
            mark.touch()
            raise ZeroDivisionError
        self.assertEqual(Note("start"), Note.read(self.lock.read_text()))

    def test_removal_that_fails_is_left_to_the_next_one(self) -> None:
        with (
            self.assertRaises(ZeroDivisionError),
            self.operation("destroy", need=Need.NOTHING, removes=True),
        ):
            raise ZeroDivisionError
        self.assertEqual(Note("destroy", True), Note.read(self.lock.read_text()))

    def test_failure_is_undone_and_forgotten(self) -> None:
        undone: list[str] = []
        with self.assertRaises(ZeroDivisionError), self.operation() as op:
            op.undo.add("a step", undone.append, "a step")
            raise ZeroDivisionError
        self.assertEqual(["a step"], undone)
        self.assertFalse(self.lock.exists())

    def test_success_is_not_undone(self) -> None:
        with self.operation() as op:
            op.undo.add("a step", self.fail, "the step is undone")
        self.assertFalse(self.lock.exists())

    def test_note_stays_if_a_step_cannot_be_undone(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.operation() as op:
            op.undo.add("a step", mock.Mock(side_effect=OSError("cannot")))
            with self.assertLogs("compute_driver.operations.base.undo", logging.ERROR):
                op.undo.close()
            raise ZeroDivisionError
        self.assertEqual(Note("start"), Note.read(self.lock.read_text()))

    def test_text_that_is_no_uuid_names_no_guest(self) -> None:
        for text in ("../locks", UUID.upper()):
            with (
                self.assertRaises(exceptions.GuestNotFound),
                journal.operation(self.parts(), text, "start"),
            ):
                self.fail("the operation goes on")
