# SPDX-License-Identifier: Apache-2.0
"""A guest is in order again after a sudden death at any step of an operation on it.

The steps are those that the product announces.
"""

from __future__ import annotations

import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import MIB, Guest, Interface
from compute_driver.storage import layout
from compute_driver.system import steps
from tests.functional import base, switches, tables, tiny, worker

#: What a guest may be after its recovery.
RUNNING = "running, plugged"
STOPPED = "stopped"
PAUSED = "paused, plugged"
REMOVED = "removed"
KEPT = "files kept"

Preparation = Callable[[Guest], object]


class KillTestCase(switches.SwitchTestCase):
    """A tiny guest with one port of Open vSwitch, and operations that die at any of their steps."""

    def setUp(self) -> None:
        self.options = {**self.options, "stop_timeout": 0.0}  # tiny guests never answer
        super().setUp()
        self.driver.list()  # a first question mends guests
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        self.image = Path(home.name, "image")
        self.image.write_bytes(bytes(MIB))

    def given(self, action: str) -> worker.Given:
        return worker.Given(
            image=str(self.image) if action == "rescue" else "", bridge=self.switch.bridge
        )

    def leave(self, made: Guest) -> None:
        """Leave a guest running, for operations that need no other state."""

    def spawned(self, action: str) -> Guest:
        """Return a guest that runs, without a port if the operation attaches one."""
        changes = {"interfaces": ()} if action == "attach_interface" else {}
        made = tiny.guest(**{"interfaces": (self.given(action).interface,), **changes})
        self.driver.spawn(made)
        return made

    def release(self, made: Guest) -> None:
        """Remove a guest but for its files."""
        self.driver.destroy(made.uuid, keep_files=True)

    def kill_at_each_step(
        self,
        action: str,
        prepare: Preparation | None,
        *accepted: str,
        last: str = RUNNING,
        since: str = "noted",
    ) -> None:
        """Kill an operation at each of its steps, each time with a guest of its own.

        :param action: a key of :data:`worker.ACTIONS`.
        :param prepare: readies a guest that runs for the operation; None if it makes the guest.
        :param accepted: the outcomes that a recovery may have.
        :param last: the outcome of the next command, which is ``start``.
        :param since: the first of the steps.
        """
        steps_taken = self.steps(action, prepare)
        numbered = [*enumerate(steps_taken)][steps_taken.index(since) :]
        table = [
            self.killed(action, prepare, number, step, accepted, last)
            for number, step in tables.rows(numbered, numbered[::4])
        ]
        tables.show("kill-at-every-step", [(self.id().rpartition(".")[2], *row) for row in table])

    def steps(self, action: str, prepare: Preparation | None) -> list[str]:
        """Return the steps that the operation announces when it ends well."""
        seen: list[str] = []
        number = self.number(action, prepare)
        with steps.announced_to(seen.append):
            worker.ACTIONS[action](self.driver, number, self.given(action))
        self.driver.destroy(number)
        return seen

    def number(self, action: str, prepare: Preparation | None) -> str:
        """Return the UUID of a guest that is ready for the operation."""
        if prepare is None:
            return str(uuid.uuid4())
        made = self.spawned(action)
        self.addCleanup(self.driver.destroy, made.uuid)
        prepare(made)
        return made.uuid

    def killed(
        self,
        action: str,
        prepare: Preparation | None,
        at: int,
        step: str,
        accepted: tuple[str, ...],
        last: str,
    ) -> tuple[str, str, str, str]:
        """Kill the operation at one step; return the step and what becomes of the guest."""
        number, given = self.number(action, prepare), self.given(action)
        with worker.running(
            *(action, number),
            pause=str(at),
            image=given.image,
            bridge=given.bridge,
            configured=self.options,
        ) as other:
            self.assertEqual(worker.PAUSED, other.says())
        left = self.outcome(number)
        driver = LibvirtDriver(base.configuration(**self.options))
        driver.list()
        driver.close()
        recovered = self.outcome(number)
        with self.subTest(action, step=step):
            self.assertIn(recovered, accepted)
            self.assert_in_order(number, recovered)
        gone = recovered in (REMOVED, KEPT)
        try:
            self.driver.start(number)
        except exceptions.GuestNotFound:
            self.assertTrue(gone)
        healed = self.outcome(number)
        with self.subTest(action, step=step):
            self.assertEqual(recovered if gone else last, healed)
            self.assert_in_order(number, healed)
        self.driver.destroy(number)
        return step, left, recovered, healed

    def interrupt_at_each_step(
        self,
        action: str,
        prepare: Preparation | None,
        *accepted: str,
        since: str = "",
        until: str = "",
    ) -> None:
        """Interrupt an operation at each of its steps, as a signal does; it takes its steps back.

        :param accepted: the outcomes that the interruption may have.
        :param since: the first of the steps; empty for all steps.
        :param until: the step after the last one; empty for all steps.
        """
        steps_taken = self.steps(action, prepare)
        first = steps_taken.index(since) if since else 0
        last = steps_taken.index(until) if until else len(steps_taken)
        numbered = [*enumerate(steps_taken)][first:last]
        for at, step in tables.rows(numbered, numbered[1::4]):
            number = self.number(action, prepare)
            signals = iter([*[False] * at, True])

            def interrupt(_step: str, signals: Iterator[bool] = signals) -> None:
                if next(signals, False):
                    raise exceptions.Interrupted(128 + signal.SIGTERM)

            with self.subTest(action, step=step):
                with steps.announced_to(interrupt), self.assertRaises(exceptions.Interrupted):
                    worker.ACTIONS[action](self.driver, number, self.given(action))
                outcome = self.outcome(number)
                self.assertIn(outcome, accepted)
                self.assert_in_order(number, outcome)
            self.driver.destroy(number)

    def outcome(self, number: str) -> str:
        try:
            # A driver that listens answers 'state' by an event, which may still be on its way.
            info = self.driver.show(number)
        except exceptions.GuestNotFound:
            return KEPT if (self.directory(number) / "domain.xml").exists() else REMOVED
        if info.state in (PowerState.STOPPED, PowerState.SUSPENDED):
            return str(info.state)
        plugged = self.are_plugged(info.guest.interfaces)
        return f"{info.state}, {'plugged' if plugged else 'not plugged'}"

    def are_plugged(self, interfaces: tuple[Interface, ...]) -> bool:
        """Tell whether the ports of the switch are those of the guest, and have devices."""
        devices = {interface.device for interface in interfaces}
        return devices == set(self.switch.ports()) and devices <= self.switch.devices()

    def directory(self, number: str) -> Path:
        return Path(self.options["state_path"], "instances", number)

    def assert_in_order(self, number: str, outcome: str) -> None:
        """Expect that no operation has left anything to do, or files that nobody owns."""
        findings = ["kept directory"] if outcome == KEPT else []
        self.assertEqual(findings, [finding.kind for finding in self.driver.audit()])
        self.assertFalse(Path(self.options["state_path"], "locks", number).exists())
        hidden = {path.name for path in self.directory(number).glob(".*")}
        self.assertLessEqual(hidden, {layout.LATEST})


class TestPower(KillTestCase):
    def stop(self, made: Guest) -> None:
        self.driver.stop(made.uuid)

    def suspend(self, made: Guest) -> None:
        self.driver.suspend(made.uuid)

    def test_spawn(self) -> None:
        self.kill_at_each_step("spawn", None, REMOVED)

    def test_spawn_that_waits_for_the_network(self) -> None:
        self.kill_at_each_step("spawn_gated", None, REMOVED, since="guest started, paused")

    def test_spawn_over_kept_files(self) -> None:
        self.kill_at_each_step("spawn", self.release, KEPT, RUNNING)

    def test_start(self) -> None:
        self.kill_at_each_step("start", self.stop, STOPPED, RUNNING)

    def test_resume(self) -> None:
        self.kill_at_each_step("resume", self.suspend, "suspended", RUNNING)

    def test_signals(self) -> None:
        self.interrupt_at_each_step("spawn", None, REMOVED)
        self.interrupt_at_each_step("spawn_gated", None, REMOVED)
        self.interrupt_at_each_step("spawn", self.release, KEPT, RUNNING)
        self.interrupt_at_each_step("start", self.stop, STOPPED, RUNNING)
        self.interrupt_at_each_step("resume", self.suspend, "suspended")
        self.interrupt_at_each_step("reboot", self.leave, RUNNING)
        gate = "network ready"  # a guest whose network fails is off
        self.interrupt_at_each_step("reboot_gated", self.leave, RUNNING, until=gate)
        self.interrupt_at_each_step("reboot_gated", self.leave, STOPPED, since=gate)
        self.interrupt_at_each_step("soft_reboot", self.leave, RUNNING)

    def test_reboot(self) -> None:
        self.kill_at_each_step("reboot", self.leave, RUNNING)

    def test_reboot_that_waits_for_the_network(self) -> None:
        self.kill_at_each_step("reboot_gated", self.leave, RUNNING, since="guest started, paused")

    def test_soft_reboot_that_becomes_hard(self) -> None:
        self.kill_at_each_step("soft_reboot", self.leave, RUNNING)


class TestRescue(KillTestCase):
    def rescue(self, made: Guest) -> None:
        worker.ACTIONS["rescue"](self.driver, made.uuid, self.given("rescue"))

    def test_rescue(self) -> None:
        self.kill_at_each_step("rescue", self.leave, RUNNING)

    def test_signals(self) -> None:
        self.interrupt_at_each_step("rescue", self.leave, RUNNING)
        self.interrupt_at_each_step("unrescue", self.rescue, RUNNING)

    def test_unrescue(self) -> None:
        self.kill_at_each_step("unrescue", self.rescue, RUNNING)


class TestResize(KillTestCase):
    #: The guest was off.  It runs once its old files are wanted.
    reverted = (KEPT, STOPPED, RUNNING)

    def resize(self, made: Guest) -> None:
        self.driver.resize(made.uuid, worker.larger(self.driver, made.uuid))

    def resize_and_release(self, made: Guest) -> None:
        self.resize(made)
        self.release(made)

    def test_resize(self) -> None:
        self.kill_at_each_step("resize", self.leave, RUNNING)

    def test_signals(self) -> None:
        self.interrupt_at_each_step("resize", self.leave, RUNNING)
        self.interrupt_at_each_step("revert_resize", self.resize, RUNNING)
        self.interrupt_at_each_step("revert_resize", self.resize_and_release, *self.reverted)

    def test_revert_resize(self) -> None:
        self.kill_at_each_step("revert_resize", self.resize, RUNNING)

    def test_revert_of_a_guest_whose_files_were_kept(self) -> None:
        self.kill_at_each_step("revert_resize", self.resize_and_release, *self.reverted)


class TestInterfaces(KillTestCase):
    def pause(self, made: Guest) -> None:
        self.driver.pause(made.uuid)

    def test_attach_interface(self) -> None:
        self.kill_at_each_step("attach_interface", self.leave, RUNNING)

    def test_guest_that_a_user_has_paused_stays_paused(self) -> None:
        self.kill_at_each_step("attach_interface", self.pause, PAUSED)
