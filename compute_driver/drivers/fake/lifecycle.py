# SPDX-License-Identifier: Apache-2.0
"""Making, changing and removing simulated guests."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Sequence

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, PowerState
from compute_driver.driver import Progress, no_progress
from compute_driver.drivers.fake.machine import Machine, Machines
from compute_driver.guest import ConfigDrive, Guest, Identity, shown_size
from compute_driver.hardware import architecture
from compute_driver.info import GuestInfo
from compute_driver.libvirt import names
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
        names.check_length(guest.name, self.conf.hypervisor)
        decision = self._decide(guest.architecture)
        self._hardware(guest, decision)
        metadata.elements(guest.annotations)
        self._require_ports(guest)
        if guest.image is not None:
            self.image_cache(guest.image, progress=progress)
        machine = Machine(guest, decision)
        self._serve(machine)
        with machine.changed:
            self._add(machine)
            try:
                if make_config_drive is not None:
                    make_config_drive(machine.info())
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
            if guest.root is None or guest.root.size_bytes == 0:
                guest = dataclasses.replace(guest, root=machine.guest.root)
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
        machine.require("resize", *ACTIVE, PowerState.STOPPED)
        if old.rescue is not None:
            raise exceptions.InvalidGuestState(
                old.name, "resize", "in rescue", ["in its own system"]
            )
        if machine.before is not None:
            accepted = "after 'confirm resize' or 'revert resize'"
            raise exceptions.InvalidGuestState(old.name, "resize", "resized already", [accepted])
        if old.architecture == new.architecture:
            new = architecture.keeping_machine(new, old)
        self._hardware(new, machine.decision)
        for field in ("uuid", "name", "architecture"):
            if getattr(old, field) != getattr(new, field):
                raise exceptions.InvalidParameter(field, getattr(new, field), getattr(old, field))
        _refuse_shrinking(old, new)
        return new


def _refuse_shrinking(old: Guest, new: Guest) -> None:
    for role, before, after in (
        ("root", old.root, new.root),
        *(("ephemeral", *pair) for pair in itertools.zip_longest(old.ephemerals, new.ephemerals)),
    ):
        size = before.size_bytes if before else 0
        wanted = after.size_bytes if after else 0
        if wanted < size and (wanted or role != "root"):
            raise exceptions.InvalidParameter(
                role, shown_size(wanted), f"{shown_size(size)} or more"
            )
