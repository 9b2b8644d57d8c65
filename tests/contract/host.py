# SPDX-License-Identifier: Apache-2.0
"""The guests of a host, and the host itself."""

from __future__ import annotations

import queue

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind, PowerState, RebootKind
from tests.contract.base import Case


class Host(Case):
    """See :class:`compute_driver.contract.host.Host`."""

    def test_spawned_guest_runs_and_is_listed_and_shown(self) -> None:
        guest = self.shared()
        shown = self.driver.show(guest.uuid)
        self.assertIs(shown.state, PowerState.RUNNING)
        self.assertEqual((guest.uuid, guest.name), (shown.guest.uuid, shown.guest.name))
        self.assertEqual(guest.memory_mib, shown.guest.memory_mib)
        self.assertIn(shown.accelerator, ("kvm", "tcg"))
        self.assertTrue(shown.reason)
        listed = self.listed()[guest.uuid]
        # A list leaves out the facts that take a closer look.
        for fact in ("guest", "state", "accelerator", "reason", "console"):
            self.assertEqual(getattr(shown, fact), getattr(listed, fact))

    def test_guest_is_found_by_name_and_by_uuid(self) -> None:
        guest = self.shared()
        self.assertEqual(guest.uuid, self.driver.find(guest.name))
        self.assertEqual(guest.uuid, self.driver.find(guest.uuid))

    def test_unknown_name_is_not_found(self) -> None:
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.find("no-such-guest")

    def test_changes_of_state_are_told_when_an_operation_ends(self) -> None:
        guest = self.shared()
        changes: queue.SimpleQueue[tuple[str, PowerState]] = queue.SimpleQueue()
        self.driver.subscribe(lambda uuid, state: changes.put((uuid, state)))

        def until(state: PowerState) -> list[tuple[str, PowerState]]:
            return list(iter(lambda: changes.get(timeout=30), (guest.uuid, state)))

        self.driver.pause(guest.uuid)
        self.assertEqual([], until(PowerState.PAUSED))
        with self.boots(guest):
            self.driver.reboot(guest.uuid, kind=RebootKind.HARD)
        self.driver.pause(guest.uuid)
        self.assertNotIn((guest.uuid, PowerState.STOPPED), until(PowerState.PAUSED))
        self.driver.resume(guest.uuid)
        until(PowerState.RUNNING)

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
