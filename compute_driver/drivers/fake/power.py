# SPDX-License-Identifier: Apache-2.0
"""Powering simulated guests on and off."""

from __future__ import annotations

import contextlib
import dataclasses

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, ALIVE, PowerState, RebootKind
from compute_driver.driver import Progress, no_progress
from compute_driver.drivers.fake import images
from compute_driver.drivers.fake.machine import Machines
from compute_driver.guest import Rescue
from compute_driver.hardware import architecture


class Power(Machines):
    """Starts, stops and reboots simulated guests."""

    def start(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            if machine.state in ALIVE:
                machine.enter(PowerState.RUNNING)
            else:
                self._serve(machine)
                machine.boot()

    def stop(self, uuid: str, *, timeout: float | None = None) -> None:
        with self._machine(uuid) as machine:
            machine.enter(PowerState.STOPPED)

    def reboot(
        self,
        uuid: str,
        *,
        kind: RebootKind = RebootKind.SOFT,
        timeout: float | None = None,
        network: contextlib.AbstractContextManager[object] | None = None,
    ) -> RebootKind:
        with self._machine(uuid) as machine:
            if kind is RebootKind.SOFT:
                machine.require("reboot", PowerState.RUNNING)
                machine.boot()
            else:
                machine.enter(PowerState.STOPPED)
                self._serve(machine)
                machine.start(network)
        return kind

    def pause(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require("pause", *ACTIVE)
            machine.enter(PowerState.PAUSED)

    def resume(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require("resume", *ALIVE)
            machine.enter(PowerState.RUNNING)

    def suspend(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require("suspend", *ALIVE)
            machine.enter(PowerState.SUSPENDED)

    def inject_nmi(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require("interrupt", *ACTIVE)
            if not architecture.machine(machine.guest).nmi:
                raise exceptions.InterruptUnsupported(
                    f"the machine of guest {machine.guest.name!r} has no non-maskable interrupts"
                )
            machine.write(b"NMI received\r\n")

    def rescue(
        self,
        uuid: str,
        rescue: Rescue,
        *,
        timeout: float | None = None,
        progress: Progress = no_progress,
    ) -> None:
        with self._machine(uuid) as machine:
            guest = machine.guest
            if guest.rescue is not None:
                raise exceptions.InvalidGuestState(
                    guest.name, "rescue", "in rescue", ["in its own system"]
                )
            machine.require("rescue", PowerState.RUNNING, PowerState.STOPPED, PowerState.CRASHED)
            guest = dataclasses.replace(guest, rescue=rescue)
            self._hardware(guest, machine.decision)
            progress(rescue.image.location, images.size_bytes(rescue.image.location), 0)
            machine.guest = guest
            machine.enter(PowerState.STOPPED)
            machine.boot()

    def unrescue(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            guest = machine.guest
            if guest.rescue is None:
                raise exceptions.InvalidGuestState(
                    guest.name, "unrescue", "in its own system", ["in rescue"]
                )
            machine.guest = dataclasses.replace(guest, rescue=None)
            machine.enter(PowerState.STOPPED)
            machine.boot()
