# SPDX-License-Identifier: Apache-2.0
"""A driver that listens to libvirt asks little, and answers truly after changes by others."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest
from tests import libvirt_calls
from tests.functional import base, command, tiny
from tests.functional.processes import daemon_pid, ended


class KnownTestCase(tiny.TinyTestCase):
    """A driver that listens, and guests that it has just been asked about."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = self.other_driver()
        self.listening.subscribe(lambda _uuid, _state: None)

    def known(self, **changes: object) -> Guest:
        made = self.spawn_tiny(**changes)
        self.ask(self.listening)
        return made

    def ask(self, driver: LibvirtDriver) -> dict[str, PowerState] | None:
        """Return the states of all guests by name; None if two questions do not agree."""
        listed = {info.guest.name: info.state for info in driver.list()}
        try:
            single = {info.guest.name: driver.state(info.guest.uuid) for info in driver.list()}
        except exceptions.GuestNotFound:
            return None
        return listed if listed == single else None


class TestCalls(KnownTestCase):
    def calls(self, question: Callable[[], object]) -> int:
        """Return the number of calls for a second answer, without those of other threads."""
        counts = []
        for _ in range(5):
            with libvirt_calls.counted() as calls:
                question()
            counts.append(calls.total())
        return min(counts)

    def test_the_number_of_calls_does_not_grow_with_the_guests(self) -> None:
        counts = []
        guests: list[Guest] = []
        for number in (1, 4):
            while len(guests) < number:
                guests.append(self.known())
            counts.append(
                [
                    self.calls(self.listening.list),
                    self.calls(self.listening.stats),
                    self.calls(lambda: [self.listening.state(guest.uuid) for guest in guests]),
                ]
            )
        self.assertEqual(counts[0], counts[1])
        self.assertEqual(0, counts[1][2])


class TestChanges(KnownTestCase):
    """Each change by others is seen, as soon as libvirt tells it."""

    def seen(self, expected: dict[str, PowerState]) -> None:
        command.eventually(lambda: self.ask(self.listening) == expected)

    def test_operations_of_another_driver(self) -> None:
        made = self.known()
        for operation, state in (
            (self.driver.pause, PowerState.PAUSED),
            (self.driver.resume, PowerState.RUNNING),
            (self.driver.suspend, PowerState.SUSPENDED),
            (self.driver.resume, PowerState.RUNNING),
            (lambda uuid: self.driver.stop(uuid, timeout=0), PowerState.STOPPED),
            (self.driver.start, PowerState.RUNNING),
        ):
            operation(made.uuid)
            self.seen({made.name: state})
        self.driver.destroy(made.uuid)
        self.seen({})
        with self.assertRaises(exceptions.GuestNotFound):
            self.listening.state(made.uuid)

    def test_own_operations_are_seen_at_once(self) -> None:
        made = self.known()
        for operation, state in (
            (self.listening.pause, PowerState.PAUSED),
            (self.listening.resume, PowerState.RUNNING),
            (lambda uuid: self.listening.stop(uuid, timeout=0), PowerState.STOPPED),
        ):
            operation(made.uuid)
            self.assertEqual({made.name: state}, self.ask(self.listening))
        self.listening.destroy(made.uuid)
        self.assertEqual({}, self.ask(self.listening))

    def test_the_end_of_an_emulator(self) -> None:
        made = self.known()
        os.kill(tiny.emulators()[made.uuid], signal.SIGKILL)
        self.seen({made.name: PowerState.STOPPED})

    def test_a_domain_that_another_client_renames(self) -> None:
        made = self.known()
        self.listening.stop(made.uuid, timeout=0)
        domain = tiny.libvirt_connection(self).lookupByUUIDString(made.uuid)
        domain.rename("renamed", 0)
        self.seen({"renamed": PowerState.STOPPED})

    def test_metadata_that_another_client_changes(self) -> None:
        made = self.known()
        domain = tiny.libvirt_connection(self).lookupByUUIDString(made.uuid)
        kind, namespace = libvirt.VIR_DOMAIN_METADATA_ELEMENT, "urn:compute-driver:guest:1"
        both = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
        element = domain.metadata(kind, namespace, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        domain.setMetadata(kind, None, "driver", namespace, both)
        self.seen({})
        domain.setMetadata(kind, element, "driver", namespace, both)
        self.seen({made.name: PowerState.RUNNING})

    def test_a_libvirtd_that_ends(self) -> None:
        made = self.known()
        daemon = daemon_pid(base.state_path(), "libvirtd")
        os.kill(daemon, signal.SIGKILL)
        self.assertTrue(ended([daemon], command.DEADLINE))
        os.kill(tiny.emulators()[made.uuid], signal.SIGKILL)
        self.seen({made.name: PowerState.STOPPED})
        self.driver.start(made.uuid)
        self.seen({made.name: PowerState.RUNNING})
