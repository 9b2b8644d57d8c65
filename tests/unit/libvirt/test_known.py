# SPDX-License-Identifier: Apache-2.0
"""What libvirt has told about domains, and when it is asked again."""

from __future__ import annotations

import unittest
import uuid
from collections.abc import Callable
from unittest import mock

import libvirt

from compute_driver.choices import PowerState
from compute_driver.libvirt import known

UUID = str(uuid.uuid4())


class KnownTestCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.known = known.Known()
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.UUIDString.return_value = UUID
        self.domain.metadata.return_value = "<guest/>"
        clock = mock.patch.object(known.time, "monotonic", return_value=0.0)
        self.clock = clock.start()
        self.addCleanup(clock.stop)

    def questions(self) -> int:
        """Return how often libvirt has been asked for metadata after one more question."""
        self.assertEqual("<guest/>", self.known.told([self.domain])[UUID].text)
        return int(self.domain.metadata.call_count)


class TestMetadata(KnownTestCase):
    def test_without_events_nothing_is_kept(self) -> None:
        self.assertEqual([1, 2], [self.questions(), self.questions()])

    def test_with_events_libvirt_is_asked_once(self) -> None:
        self.known.listen()
        self.assertEqual([1, 1], [self.questions(), self.questions()])

    def test_a_changed_domain_is_asked_again(self) -> None:
        self.known.listen()
        self.questions()
        self.known.forget(str(uuid.uuid4()))
        self.assertEqual(1, self.questions())
        self.known.forget(UUID)
        self.assertEqual(2, self.questions())

    def test_an_answer_that_changes_meanwhile_is_not_kept(self) -> None:
        for event in (lambda: self.known.forget(UUID), self.known.forget_all):
            with self.subTest(event=event):
                self.domain.metadata.reset_mock()
                self.known.listen()
                self.known.forget(UUID)

                def answer(*_: object, event: Callable[[], None] = event) -> str:
                    event()
                    return "<guest/>"

                self.domain.metadata.side_effect = answer
                self.questions()
                self.domain.metadata.side_effect = None
                self.assertEqual(2, self.questions())

    def test_a_lost_connection_forgets_all(self) -> None:
        self.known.listen()
        self.questions()
        self.known.forget_all()
        self.assertEqual(2, self.questions())
        self.known.listen()
        self.assertEqual([3, 3], [self.questions(), self.questions()])

    def test_a_failed_question_ends(self) -> None:
        self.known.listen()
        self.domain.metadata.side_effect = libvirt.libvirtError("lost")
        with self.assertRaises(libvirt.libvirtError):
            self.known.told([self.domain])
        self.domain.metadata.side_effect = None
        self.assertEqual([2, 2], [self.questions(), self.questions()])

    def test_an_old_answer_is_asked_again(self) -> None:
        self.known.listen()
        self.questions()
        self.clock.return_value = known.METADATA_AGE + 1
        self.assertEqual([2, 2], [self.questions(), self.questions()])


class TestStates(KnownTestCase):
    def keep(self, state: PowerState) -> None:
        self.known.keep_states(lambda: {UUID: state})

    def test_without_events_no_state_is_known(self) -> None:
        self.keep(PowerState.RUNNING)
        self.assertIsNone(self.known.state(UUID))
        self.assertFalse(self.known.has_old_states)

    def test_a_state_is_known_until_the_domain_changes(self) -> None:
        self.known.listen()
        self.assertTrue(self.known.has_old_states)
        self.keep(PowerState.RUNNING)
        self.assertIs(PowerState.RUNNING, self.known.state(UUID))
        self.known.forget(UUID)
        self.assertIsNone(self.known.state(UUID))
        state = self.known.keep_state(UUID, lambda: PowerState.STOPPED)
        self.assertIs(PowerState.STOPPED, state)
        self.assertIs(state, self.known.state(UUID))

    def test_a_uuid_in_capital_letters_is_the_same_guest(self) -> None:
        self.known.listen()
        self.keep(PowerState.RUNNING)
        self.assertIs(PowerState.RUNNING, self.known.state(UUID.upper()))
        self.known.keep_state(UUID.upper(), lambda: PowerState.PAUSED)
        self.assertIs(PowerState.PAUSED, self.known.state(UUID))
        self.known.forget(UUID)
        self.assertIsNone(self.known.state(UUID.upper()))

    def test_a_guest_that_is_gone_without_an_event_is_forgotten(self) -> None:
        self.known.listen()
        self.keep(PowerState.RUNNING)
        self.known.keep_states(dict)
        self.assertIsNone(self.known.state(UUID))

    def test_one_thread_asks_for_all_states(self) -> None:
        self.known.listen()

        def ask() -> dict[str, PowerState]:
            self.known.keep_states(lambda: self.fail("asked twice"))
            return {UUID: PowerState.RUNNING}

        self.known.keep_states(ask)
        self.assertIs(PowerState.RUNNING, self.known.state(UUID))

    def test_states_of_a_lost_connection_are_not_kept(self) -> None:
        self.known.listen()

        def ask() -> dict[str, PowerState]:
            self.known.forget_all()
            return {UUID: PowerState.RUNNING}

        self.known.keep_states(ask)
        self.known.listen()
        self.assertTrue(self.known.has_old_states)
        self.assertIsNone(self.known.state(UUID))

    def test_saved_memory_may_go_without_an_event(self) -> None:
        self.known.listen()
        self.keep(PowerState.SUSPENDED)
        self.known.keep_state(UUID, lambda: PowerState.SUSPENDED)
        self.assertIsNone(self.known.state(UUID))
        self.assertFalse(self.known.has_old_states)

    def test_old_states_are_asked_for_again_all_at_once(self) -> None:
        self.known.listen()
        self.keep(PowerState.RUNNING)
        self.clock.return_value = known.STATES_AGE + 1
        self.assertTrue(self.known.has_old_states)
        self.assertIsNone(self.known.state(UUID))
        self.keep(PowerState.STOPPED)
        self.assertIs(PowerState.STOPPED, self.known.state(UUID))
