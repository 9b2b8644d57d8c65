# SPDX-License-Identifier: Apache-2.0
"""Powering simulated guests on and off."""

from __future__ import annotations

import contextlib
import dataclasses

from compute_driver import exceptions
from compute_driver.choices import ALIVE, PowerState, RebootKind
from compute_driver.contract.states import Request, check_in_rescue, check_own_system
from compute_driver.driver import Progress, no_progress
from compute_driver.drivers.fake import images
from compute_driver.drivers.fake.machine import Machines
from compute_driver.guest import Rescue
from compute_driver.hardware import architecture
from compute_driver.storage import config_drive


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
        fall_back: bool = True,
    ) -> RebootKind:
        with self._machine(uuid) as machine:
            if kind is RebootKind.SOFT:
                machine.require(Request.REBOOT_SOFTLY)
                machine.boot()
            else:
                machine.enter(PowerState.STOPPED)
                self._serve(machine)
                machine.start(network)
        return kind

    def pause(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.PAUSE)
            machine.enter(PowerState.PAUSED)

    def resume(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.RESUME)
            machine.enter(PowerState.RUNNING)

    def suspend(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.SUSPEND)
            machine.enter(PowerState.SUSPENDED)

    def inject_nmi(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.INTERRUPT)
            if not architecture.machine(machine.guest).nmi:
                raise exceptions.InterruptUnsupported(machine.guest.name)
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
            check_own_system(guest, Request.RESCUE)
            machine.require(Request.RESCUE)
            if rescue.config_drive is not None:
                config_drive.check_content(rescue.config_drive)
            size = images.size_bytes(rescue.image.location)
            guest = dataclasses.replace(guest, rescue=rescue)
            self._hardware(guest, machine.decision)
            progress(rescue.image.location, size, 0)
            machine.guest = guest
            machine.enter(PowerState.STOPPED)
            machine.boot()

    def unrescue(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            guest = machine.guest
            check_in_rescue(guest)
            machine.guest = dataclasses.replace(guest, rescue=None)
            machine.enter(PowerState.STOPPED)
            machine.boot()
