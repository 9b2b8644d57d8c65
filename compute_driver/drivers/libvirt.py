# SPDX-License-Identifier: Apache-2.0
"""The driver for KVM and QEMU guests: wires the parts together, each verb in a line or two.

A command imports the module of its own operation only: see :mod:`compute_driver.operations`.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from pathlib import Path

import libvirt
from oslo_config import cfg

from compute_driver import driver, exceptions, operations
from compute_driver.choices import PowerState, Quiesce, RebootKind, SnapshotFormat
from compute_driver.consoles import DisplayKind
from compute_driver.contract.agent import check_account
from compute_driver.contract.states import Request
from compute_driver.guest import (
    ConfigDrive,
    Guest,
    Identity,
    Image,
    Interface,
    PublishedPort,
    Rescue,
)
from compute_driver.info import (
    Address,
    CacheEntry,
    Check,
    Display,
    Finding,
    GuestInfo,
    GuestStats,
    HostInfo,
)
from compute_driver.libvirt import agent, consoles
from compute_driver.libvirt.connection import Connection
from compute_driver.operations.base import freezing, journal
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.need import Need
from compute_driver.system import concurrency


class LibvirtDriver(driver.ComputeDriver):
    """Runs guests through libvirt, accelerated by KVM or emulated by QEMU.

    A new driver ends interrupted removals and changes of files.  The next operation on a guest lets
    the guest run again that an interruption has left off, unless the operation ends the run anyway.
    The first question about guests and each new listener let all these guests run again.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        connection = Connection(conf)
        self._parts = Parts.of(conf, connection)
        self._subscriptions: builtins.list[operations.subscribe.Changes] = []
        journal.recover(self._parts, Need.FILES)

    def spawn(
        self,
        guest: Guest,
        *,
        progress: driver.Progress = driver.no_progress,
        network: contextlib.AbstractContextManager[object] | None = None,
        power_on: bool = True,
        make_config_drive: Callable[[GuestInfo], ConfigDrive | None] | None = None,
    ) -> GuestInfo:
        decision = operations.base.admission.check_guest(self._parts, guest)
        with journal.operation(self._parts, guest.uuid, "spawn") as op:
            return operations.spawn.spawn(
                self._parts,
                guest,
                decision,
                progress,
                op,
                network=network,
                power_on=power_on,
                make_config_drive=make_config_drive,
            )

    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        operations.base.disk_copy.give_up(self._parts, uuid)  # a snapshot holds the guest's lock
        need = Need.FILES if keep_files else Need.NOTHING
        removes = not keep_files
        with (
            contextlib.suppress(exceptions.GuestNotFound),
            journal.operation(self._parts, uuid, "destroy", need=need, removes=removes) as op,
        ):
            operations.destroy.destroy(self._parts, uuid, op, keep_files=keep_files)

    def reboot(
        self,
        uuid: str,
        *,
        kind: RebootKind = RebootKind.SOFT,
        timeout: float | None = None,
        network: contextlib.AbstractContextManager[object] | None = None,
        fall_back: bool = True,
    ) -> RebootKind:
        seconds = self._seconds(timeout, "soft_reboot_timeout")
        need = Need.FILES if kind is RebootKind.HARD else Need.ALL
        with journal.operation(self._parts, uuid, "reboot", need=need) as op:
            return operations.reboot.reboot(
                self._parts, uuid, kind, seconds, op, network, fall_back=fall_back
            )

    def start(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "start"):
            operations.start.start(self._parts, uuid)

    def stop(self, uuid: str, *, timeout: float | None = None) -> None:
        seconds = self._seconds(timeout, "stop_timeout")
        with journal.operation(self._parts, uuid, "stop", need=Need.NOTHING):
            operations.stop.stop(self._parts, uuid, seconds)

    def pause(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "pause"):
            if self._parts.require(uuid, Request.PAUSE) is PowerState.RUNNING:
                self._parts.require_answer(uuid)
                self._parts.on_domain(uuid, libvirt.virDomain.suspend)

    def resume(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "resume"):
            operations.resume.resume(self._parts, uuid)

    def suspend(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "suspend"):
            operations.suspend.suspend(self._parts, uuid)

    def inject_nmi(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "inject_nmi"):
            operations.inject_nmi.inject_nmi(self._parts, uuid)

    def snapshot(
        self,
        uuid: str,
        target: Path,
        *,
        image_format: SnapshotFormat | None = None,
        quiesce: Quiesce = Quiesce.TRY,
        progress: driver.Progress = driver.no_progress,
    ) -> None:
        made = operations.snapshot.check_target(self._parts, target)
        image_format = image_format or SnapshotFormat.of(target)
        timeout = self.conf.hypervisor.snapshot_timeout
        with journal.operation(self._parts, uuid, "snapshot") as op:
            operations.snapshot.snapshot(
                self._parts, uuid, made, image_format, quiesce, timeout, progress, op
            )

    def quiesce(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "quiesce"):
            freezing.freeze(self._parts, uuid)

    def unquiesce(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "unquiesce"):
            self._parts.require_agent(uuid, Request.UNQUIESCE)
            freezing.thaw(self._parts, uuid, self._parts.agent_timeout)

    def set_password(self, uuid: str, password: str, *, user: str = "root") -> None:
        check_account(user, password)
        with journal.operation(self._parts, uuid, "set_password"):
            self._parts.require_agent(uuid, Request.SET_PASSWORD)
            timeout = self._parts.agent_timeout
            request = partial(agent.set_password, timeout=timeout, user=user, password=password)
            self._parts.on_domain(uuid, request)

    def ssh_host_keys(self, uuid: str) -> tuple[str, ...]:
        return operations.ssh_host_keys.ssh_host_keys(self._mended, uuid)

    def rescue(
        self,
        uuid: str,
        rescue: Rescue,
        *,
        timeout: float | None = None,
        progress: driver.Progress = driver.no_progress,
    ) -> None:
        seconds = self._seconds(timeout, "stop_timeout")
        with journal.operation(self._parts, uuid, "rescue") as op:
            operations.rescue.rescue(self._parts, uuid, rescue, seconds, progress, op)

    def unrescue(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "unrescue") as op:
            operations.unrescue.unrescue(self._parts, uuid, op)

    def resize(
        self, uuid: str, guest: Guest, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        seconds = self._seconds(timeout, "stop_timeout")
        with journal.operation(self._parts, uuid, "resize") as op:
            change = operations.resize.check_resize(self._parts, uuid, guest)
            operations.resize.resize(self._parts, change, op, timeout=seconds, power_on=power_on)

    def check_resize(self, uuid: str, guest: Guest) -> None:
        with journal.exclusive(self._parts, uuid):
            operations.resize.check_resize(self._parts, uuid, guest)

    def identify(self, uuid: str, identity: Identity, annotations: Sequence[str]) -> None:
        with journal.operation(self._parts, uuid, "identify"):
            operations.identify.identify(self._parts, uuid, identity, tuple(annotations))

    def confirm_resize(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "confirm_resize") as op:
            operations.confirm_resize.confirm_resize(self._parts, uuid, op)

    def revert_resize(
        self, uuid: str, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        seconds = self._seconds(timeout, "stop_timeout")
        with journal.operation(self._parts, uuid, "revert_resize") as op:
            operations.revert_resize.revert_resize(
                self._parts, uuid, op, timeout=seconds, power_on=power_on
            )

    def attach_interface(self, uuid: str, interface: Interface) -> None:
        with journal.operation(self._parts, uuid, "attach_interface") as op:
            operations.attach_interface.attach_interface(self._parts, uuid, interface, op)

    def detach_interface(self, uuid: str, mac: str, *, timeout: float | None = None) -> None:
        seconds = self._seconds(timeout, "detach_timeout")
        with journal.operation(self._parts, uuid, "detach_interface") as op:
            operations.detach_interface.detach_interface(
                self._parts, uuid, mac, op, timeout=seconds
            )

    def addresses(self, uuid: str) -> tuple[str, ...]:
        self._mended.require(uuid, Request.READ_ADDRESSES)
        request = partial(agent.addresses, timeout=self._parts.agent_timeout)
        return self._parts.on_domain(uuid, request)

    def publish(self, uuid: str, port: PublishedPort) -> None:
        with journal.operation(self._parts, uuid, "publish") as op:
            operations.publish.publish(self._parts, uuid, port, op)

    def unpublish(self, uuid: str, port: PublishedPort) -> None:
        with journal.operation(self._parts, uuid, "unpublish") as op:
            operations.unpublish.unpublish(self._parts, uuid, port, op)

    def plug_interfaces(self, uuid: str) -> None:
        with journal.operation(self._parts, uuid, "plug_interfaces"):
            operations.plug_interfaces.plug_interfaces(self._parts, uuid)

    def replace_interfaces(self, uuid: str, interfaces: Sequence[Interface]) -> None:
        with journal.operation(self._parts, uuid, "replace_interfaces"):
            operations.replace_interfaces.replace_interfaces(self._parts, uuid, tuple(interfaces))

    def subscribe(self, listener: driver.Listener) -> None:
        journal.recover(self._parts)
        changes = operations.subscribe.Changes(self._parts, listener)
        changes.start()
        self._subscriptions.append(changes)

    def list(self) -> tuple[GuestInfo, ...]:
        return self._mended.inventory.guests()

    def show(self, uuid: str) -> GuestInfo:
        return self._mended.inventory.guest(uuid)

    def state(self, uuid: str) -> PowerState:
        return self._mended.inventory.state(uuid)

    def find(self, guest: str) -> str:
        return self._parts.inventory.find(guest)

    def console_log(self, uuid: str, *, max_bytes: int | None = None) -> bytes:
        log = self._mended.inventory.console_log(uuid)
        return concurrency.run_blocking(consoles.log.read_log, log, max_bytes)

    def console_wait(self, uuid: str, text: str, *, timeout: float, skip_bytes: int = 0) -> None:
        operations.console_wait.console_wait(self._mended, uuid, text, timeout, skip_bytes)

    def console_attach(self, uuid: str) -> driver.ConsoleSession:
        self._mended.require(uuid, Request.ATTACH_TO_CONSOLE)
        return consoles.session.attach(self._parts.connection, uuid)

    def console_address(self, uuid: str) -> Address:
        self._mended.require(uuid, Request.CONNECT_TO_CONSOLE)
        return self._parts.on_domain(uuid, consoles.session.find_address)

    def screenshot(self, uuid: str) -> bytes:
        self._mended.require(uuid, Request.SCREENSHOT)
        self._parts.require_answer(uuid)
        return self._parts.on_domain(uuid, consoles.screen.take_screenshot)

    def display(self, uuid: str, *, kind: DisplayKind | None = None) -> Display:
        self._mended.require(uuid, Request.SHOW_SCREEN)
        return self._parts.on_domain(uuid, partial(consoles.screen.find_display, kind=kind))

    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        if uuid is not None:
            self._mended.require_answer(uuid)
        return self._mended.inventory.stats(uuid)

    def host_show(self, architectures: Collection[str] = ()) -> HostInfo:
        return self._parts.host.show(architectures)

    def host_check(self) -> tuple[Check, ...]:
        return operations.host_check.host_check(self._parts)

    def image_list(self) -> tuple[CacheEntry, ...]:
        return operations.image_list.image_list(self._parts)

    def image_cache(
        self, image: Image, *, boot: bool = False, progress: driver.Progress = driver.no_progress
    ) -> bool:
        return self._parts.images.fetch(image, progress, boot=boot)

    def image_prune(self, *, unused: float | None = None) -> tuple[CacheEntry, ...]:
        age = self._seconds(unused, "image_unused_seconds")
        return operations.image_prune.image_prune(self._parts, age)

    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        return operations.audit.audit(self._parts, repair=repair)

    def close(self) -> None:
        while self._subscriptions:
            self._subscriptions.pop().stop()
        self._parts.connection.close()

    @cached_property
    def _mended(self) -> Parts:
        """The parts, for questions: interrupted runs of guests go on before the first question."""
        journal.recover(self._parts)
        return self._parts

    def _seconds(self, given: float | None, option: str) -> float:
        """Return the given seconds, or those of an option if the caller gives none."""
        return float(self.conf.hypervisor[option]) if given is None else given
