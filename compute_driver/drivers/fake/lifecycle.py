# SPDX-License-Identifier: Apache-2.0
"""Making, changing and removing simulated guests."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, PowerState
from compute_driver.contract.lifecycle import check_same_guest, check_sizes
from compute_driver.contract.states import Request, check_no_resize, check_own_system
from compute_driver.driver import Progress, no_progress
from compute_driver.drivers.fake.machine import Machine, Machines
from compute_driver.guest import ConfigDrive, Guest, Identity, check_new_name
from compute_driver.hardware import architecture
from compute_driver.info import GuestInfo
from compute_driver.operations.base import descriptions
from compute_driver.storage import config_drive
from compute_driver.xml import metadata


class Lifecycle(Machines):
    """Makes, resizes and removes simulated guests."""

    def spawn(
        self,
        guest: Guest,
        *,
        progress: Progress = no_progress,
        network: contextlib.AbstractContextManager[object] | None = None,
        power_on: bool = True,
        make_config_drive: Callable[[GuestInfo], ConfigDrive | None] | None = None,
    ) -> GuestInfo:
        descriptions.check(guest, self.conf.hypervisor)
        decision = self._decide(guest.architecture)
        self._hardware(guest, decision)
        if guest.uuid not in self._released:
            check_new_name(guest.name)
        self._require_ports(guest)
        if guest.image is not None:
            self.image_cache(guest.image, progress=progress)
        machine = Machine(guest, decision)
        self._serve(machine)
        with machine.changed:
            self._add(machine)
            try:
                content = make_config_drive(machine.info()) if make_config_drive else None
                if content is not None:
                    config_drive.check_content(content)
                if power_on:
                    machine.start(network)
            except BaseException:
                self._remove(machine)
                raise
            made = machine.info()
        self._released.pop(guest.uuid, None)
        self._report(guest.uuid, made.state)
        return made

    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        with contextlib.suppress(exceptions.GuestNotFound), self._machine(uuid) as machine:
            self._remove(machine)
            if keep_files:
                self._released[uuid] = machine
        if not keep_files:
            self._released.pop(uuid, None)

    def resize(
        self, uuid: str, guest: Guest, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        with self._machine(uuid) as machine:
            guest = self._check_resize(machine, guest)
            was_on = machine.state in ACTIVE
            machine.before = (machine.guest, machine.decision, was_on)
            machine.enter(PowerState.STOPPED)
            machine.guest = guest
            if was_on if power_on is None else power_on:
                machine.boot()

    def check_resize(self, uuid: str, guest: Guest) -> None:
        with self._machine(uuid) as machine:
            self._check_resize(machine, guest)

    def identify(self, uuid: str, identity: Identity, annotations: Sequence[str]) -> None:
        metadata.elements(annotations)
        with self._machine(uuid) as machine:
            machine.guest = dataclasses.replace(
                machine.guest, identity=identity, annotations=tuple(annotations)
            )

    def confirm_resize(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.before = None

    def revert_resize(
        self, uuid: str, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        if uuid in self._released:
            machine = self._released.pop(uuid)
            machine.removed = False
            self._add(machine)
        with self._machine(uuid) as machine:
            if machine.before is not None:
                machine.enter(PowerState.STOPPED)
                machine.guest, machine.decision, was_on = machine.before
                machine.before = None
                power_on = was_on if power_on is None else power_on
            if power_on and machine.state is PowerState.STOPPED:
                machine.boot()

    def _check_resize(self, machine: Machine, new: Guest) -> Guest:
        """Refuse a resize by the guest's present state or by the new description.

        :return: the new description, with the guest's machine type.
        """
        old = machine.guest
        machine.require(Request.RESIZE)
        check_own_system(old, Request.RESIZE)
        check_no_resize(old, resized=machine.before is not None)
        check_same_guest(old, new)
        root = new.root or old.root
        if root is not None and old.root is not None and root.size_bytes == 0:
            root = dataclasses.replace(root, size_bytes=old.root.size_bytes)
        new = architecture.keeping_machine(new, old)
        new = dataclasses.replace(new, image=old.image, boot=old.boot, root=root)
        check_sizes(new.name, _sizes(old), _sizes(new))
        descriptions.check(new, self.conf.hypervisor)
        self._hardware(new, machine.decision)
        return new


def _sizes(guest: Guest) -> dict[str, int]:
    """Return the sizes of the disks that do not shrink, in bytes, by the disks' names."""
    root = {"root": guest.root.size_bytes} if guest.root else {}
    return root | {f"ephemeral{at}": disk.size_bytes for at, disk in enumerate(guest.ephemerals)}
