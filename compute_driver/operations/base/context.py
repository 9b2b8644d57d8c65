# SPDX-License-Identifier: Apache-2.0
"""The parts of one driver, which operations share, and the making of blueprints."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.contract.agent import check_channel
from compute_driver.contract.states import Request
from compute_driver.guest import NAMES, Guest, is_name, unusable_name
from compute_driver.hardware import acceleration, tuning
from compute_driver.host.facts import Host
from compute_driver.images.cache import ImageCache
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import names
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.inventory import Inventory
from compute_driver.libvirt.ownership import Ownership, Reading
from compute_driver.network.backend import Site
from compute_driver.network.ports import Ports
from compute_driver.operations.base.blueprint import Blueprint, Draft
from compute_driver.storage import disks, layout
from compute_driver.storage.home import Home
from compute_driver.system import concurrency, memory
from compute_driver.xml import carrying, metadata
from compute_driver.xml import disk as disk_xml
from compute_driver.xml import present as present_xml
from compute_driver.xml.present import Place, Present

if TYPE_CHECKING:
    from compute_driver.hardware.description import Drives

LOG = logging.getLogger(__name__)

R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of one driver.

    :param conf: configuration with group ``[hypervisor]``.
    :param connection: the gateway to libvirt.
    :param host: the host's abilities.
    :param inventory: the guests of this driver.
    :param images: the cache of images.
    :param ports: the ports that interfaces are plugged into.
    """

    conf: cfg.ConfigOpts
    connection: Connection
    host: Host
    inventory: Inventory
    images: ImageCache
    ports: Ports

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, connection: Connection) -> Parts:
        """Return the parts of a driver with that configuration."""
        instances = Path(conf.hypervisor.instances_path)
        ownership = Ownership(instances, connection.known)
        return cls(
            conf,
            connection,
            Host(conf, connection),
            Inventory(connection, ownership),
            ImageCache(conf, lambda: connection.run(ownership.settle)),
            Ports(Site(conf, instances, connection.run, domains.interfaces)),
        )

    def directory(self, uuid: str) -> Path:
        """Return the directory that holds all files of one guest."""
        return self.ownership.instances / uuid

    @property
    def ownership(self) -> Ownership:
        """The claim of this driver to its guests."""
        return self.inventory.ownership

    def home(self, uuid: str) -> Home:
        """Return the places of all disks of one guest."""
        return Home(self.conf, self.directory(uuid))

    def plan(
        self, guest: Guest, *, new_files: bool = False, present: Present | None = None
    ) -> layout.Layout:
        """Return the files that the guest has or will have.

        :param present: what the guest's domain has; None means that libvirt is asked.
        :param new_files: whether all files are made anew; then the guest's disks are where the
            driver plans them, even if another client has moved the disks before.
        :raises InvalidParameter: if the guest's machine lacks a bus or the firmware.
        :raises DiskUnusable: if another client has put a disk where the driver cannot use it.
        """
        from compute_driver.hardware import architecture, drives

        files = self._planned(guest, drives.resolve(guest), uefi=architecture.has_uefi(guest))
        return files if new_files else self.located(files, present)

    def _planned(self, guest: Guest, buses: Drives, *, uefi: bool) -> layout.Layout:
        """Return the files that the guest has if no other client changes them."""
        home = self.home(guest.uuid)
        return layout.plan(guest, home.directory, buses, home.locate, uefi=uefi)

    def located(self, planned: layout.Layout, present: Present | None) -> layout.Layout:
        """Return a guest's layout with the disks where the guest's domain has them.

        :param planned: the layout as this driver plans it.
        :param present: see :meth:`plan`.
        :raises DiskUnusable: see :meth:`plan`.
        """
        present = present or self.present(planned.directory.name)
        if present is None:
            return planned
        for disk in planned.disks:
            placed = disk.readonly or disk.role is layout.Role.RESCUE or disk.name in present.disks
            if present.added_disks and not placed and disks.kind(disk.source).exists(disk.source):
                marker = disk_xml.marker(disk.name, present.domain)
                raise exceptions.DiskUnusable(
                    f"another client of libvirt has taken the {disk.name} disk from guest"
                    f" {present.guest.name!r} and added another disk: which of them has the guest's"
                    f" data? 'virsh edit' gives this disk the element {marker}"
                )
        return present_xml.located(planned, present)

    def present(self, uuid: str) -> Present | None:
        """Return what a guest's domain has now, with the changes of other clients.

        :return: None without a domain; of kept files, the domain that they had.
        :raises MetadataDamaged: if the metadata, or the description, cannot be understood.
        """
        directory = self.directory(uuid)
        with contextlib.suppress(exceptions.GuestNotFound):
            return self.defined(uuid)
        kept = Description.kept(directory)
        if not kept.exists():
            return None
        return present_xml.read(kept.read(), None, directory, undefined=True)

    def disks(self, uuid: str) -> Mapping[str, Place]:
        """Return the places of the disks that a guest's domain has now, by the disks' names.

        :return: of kept files, the places that their domain had; empty without a domain, too.
        :raises HostError: if the description of kept files cannot be read.
        """

        def read(connection: libvirt.virConnect) -> str | None:
            domain = self.ownership.find(connection, uuid)
            return None if domain is None else str(domain.XMLDesc())

        xml, kept = self.connection.run(read), Description.kept(self.directory(uuid))
        if xml is None and kept.exists():
            xml = kept.read()
        return {} if xml is None else present_xml.places(xml, self.directory(uuid))

    def defined(self, uuid: str) -> Present | None:
        """Return what a guest's domain has now, with the changes of other clients.

        :return: None if another client has removed the metadata of the next power-on.
        :raises GuestNotFound: if this driver has no such guest.
        :raises MetadataDamaged: if the metadata cannot be understood.
        """
        return self._defined(uuid)[1]

    def _defined(self, uuid: str) -> tuple[metadata.Stored, Present | None]:
        """Return the content of the metadata of a guest's domain, and what the domain has now.

        :raises GuestNotFound: if this driver has no such guest.
        :raises MetadataDamaged: if the metadata cannot be understood.
        """

        def read(connection: libvirt.virConnect) -> Reading:
            domain = domains.lookup(connection, uuid)
            with _explained(uuid, domain):
                reading = None if domain is None else self.ownership.read(domain)
            if reading is None:
                raise self.ownership.not_found(uuid, domain)
            return reading

        found = self.connection.run(read)
        present = present_xml.read(
            found.inactive,
            found.live,
            self.directory(uuid),
            functools.partial(concurrency.run_blocking, found.find_note),
            unchanged=found.unchanged,
        )
        if present is not None:
            metadata.check_uuid(present.stored, found.stored.guest.uuid)
        return found.stored, present

    def decide(self, guest: Guest) -> acceleration.Decision:
        """Choose the guest's accelerator, if the host has the guest's machine.

        :raises AccelerationUnavailable: if the operator demands KVM and KVM cannot run the guest.
        :raises MissingDependency: if the host has no emulator.
        :raises NotOnThisHost: if the emulator lacks the machine; names the nearest.
        """
        decision = self.host.detection.decide(guest.architecture)
        self.host.detection.check_machine(guest)
        return decision

    def draft(
        self,
        guest: Guest,
        decision: acceleration.Decision | None = None,
        *,
        new_files: bool = False,
        present: Present | None = None,
    ) -> Draft:
        """Return the guest's hardware and files, as configuration and host are now.

        So an operation that powers a guest off and on refuses a guest that cannot be started.

        :param decision: the accelerator, if it is decided; then the host is not asked.
        :param new_files: see :meth:`plan`.
        :param present: likewise.
        :raises InvalidParameter: if the machine or the host lacks a device; names the nearest.
        :raises: the errors of :meth:`decide`.
        """
        from compute_driver.hardware import resolve

        is_decided = decision is not None
        decision = decision or self.decide(guest)
        hardware = resolve.as_configured(guest, decision.accelerator, self.conf.hypervisor)
        if not is_decided:
            self.host.detection.check_hardware(guest, hardware)
            self.connection.check_start()
        files = self._planned(guest, hardware.drives, uefi=hardware.boot.uefi)
        if not new_files:
            files = self.located(files, present)
        return Draft(guest, decision, hardware, files)

    def blueprint(
        self,
        guest: Guest,
        decision: acceleration.Decision | None = None,
        *,
        new_files: bool = False,
        present: Present | None = None,
    ) -> Blueprint:
        """Return the guest's hardware, files and domain, as configuration and host are now.

        The domain keeps the devices that another client has added to the present domain.

        :param decision: see :meth:`draft`.
        :param new_files: likewise.
        :param present: likewise.
        :raises: the errors of :meth:`draft`.
        """
        from compute_driver.xml import domain as domain_xml

        present = present or self.present(guest.uuid)
        draft = self.draft(guest, decision, new_files=new_files or present is None, present=present)
        xml = domain_xml.build(
            guest,
            draft.hardware,
            draft.layout,
            draft.decision,
            self.host.detection.emulator(draft.hardware.architecture),
            translation_buffer_mib=self._translation_buffer_mib(guest),
            hotplug_ports=self.conf.hypervisor.hotplug_ports,
            memory_stats_seconds=self.conf.hypervisor.memory_stats_seconds,
        )
        xml, lost = (xml, ()) if present is None else carrying.carry(xml, present)
        return Blueprint(guest, draft.decision, draft.hardware, draft.layout, xml, lost)

    def _translation_buffer_mib(self, guest: Guest) -> int:
        configured: int | None = self.conf.hypervisor.tcg_translation_buffer_mib
        if configured is not None:
            return configured
        return tuning.translation_buffer_mib(guest.memory_mib, memory.total_mib())

    def on_domain(self, uuid: str, function: Callable[[libvirt.virDomain], R]) -> R:
        """Call *function* with the guest's domain, through the gateway.

        :raises GuestNotFound: if this driver has no such guest.
        """

        def call(connection: libvirt.virConnect) -> R:
            domain, _stored = self.ownership.lookup(connection, uuid)
            with _explained(uuid, domain):
                return function(domain)

        return self.connection.run(call)

    def stored(self, uuid: str, present: Present | None = None) -> metadata.Stored:
        """Return the content of the metadata of a guest's domain.

        The guest has the memory and processors that another client has given to the domain.

        :param present: see :meth:`plan`.
        :raises GuestNotFound: if this driver has no such guest.
        :raises MetadataDamaged: if the metadata cannot be understood.
        """
        if present is None:
            stored, present = self._defined(uuid)
        elif present.undefined:
            raise self.ownership.not_found(uuid, None)
        else:
            directory, owner = self.directory(uuid), self.ownership.owner
            stored = dataclasses.replace(present.stored, directory=directory, owner=owner)
        return stored if present is None else dataclasses.replace(stored, guest=present.guest)

    def described(self, uuid: str, present: Present | None = None) -> metadata.Stored:
        """Return, as :meth:`stored`, the description of a guest that gets a new domain.

        :param present: see :meth:`plan`.
        :raises InvalidParameter: if another client has given the guest a name that no guest can
            have.
        """
        stored = self.stored(uuid, present)
        fault = self.name_fault(stored.guest)
        if fault is not None:
            raise fault
        return stored

    def name_fault(self, guest: Guest) -> exceptions.InvalidParameter | None:
        """Return why a guest, which another client may have renamed, cannot have its name."""
        if not is_name(guest.name):
            return unusable_name(guest, NAMES)
        try:
            names.check_length(guest.name, self.conf.hypervisor)
        except exceptions.InvalidParameter as error:
            return unusable_name(guest, error.accepted)
        return None

    def define(self, xml: str) -> None:
        """Define the domain of a guest; see :meth:`Ownership.define`."""
        self._define(self.ownership.define, xml)

    def define_again(self, xml: str) -> None:
        """Define the domain of a guest; see :meth:`Ownership.define_again`."""
        self._define(self.ownership.define_again, xml)

    def _define(self, function: Callable[[libvirt.virConnect, str], None], xml: str) -> None:
        before = Description.latest(self.directory(metadata.uuid(xml))).name()
        self.connection.run(function, xml)
        if before is not None:
            self.forget_logs(before)

    def forget_logs(self, name: str) -> None:
        """Remove the logs of QEMU under a name that a guest had, unless a domain has the name."""
        if self.connection.run(domains.lookup_name, name) is None:
            self.connection.forget_guest(name)

    def state(self, uuid: str) -> PowerState:
        """Return the power state of a guest."""
        return self.on_domain(uuid, domains.state_of)

    def name(self, uuid: str) -> str:
        """Return the name of a guest, for messages; the UUID of a guest without a domain."""
        try:
            return str(self.on_domain(uuid, libvirt.virDomain.name))
        except exceptions.ComputeDriverError:
            return uuid

    def require(self, uuid: str, request: Request) -> PowerState:
        """Return the power state of a guest, if this state accepts the request.

        :raises InvalidGuestState: if the guest has another state.
        """
        name, state = self.on_domain(uuid, lambda domain: (domain.name(), domains.state_of(domain)))
        request.check(name, state)
        return state

    def require_answer(self, uuid: str) -> None:
        """Return if a guest does not run, or its emulator answers.

        libvirt's calls wait for an emulator without an end.

        :raises OperationTimeout: if the emulator hangs.
        """
        self.ask_emulator(uuid, domains.ask_emulator, domains.ANSWER_SECONDS)

    def ask_emulator(
        self, uuid: str, question: Callable[[libvirt.virDomain], object], seconds: float
    ) -> None:
        """Call a function of a guest's domain that waits for the guest's emulator.

        :raises OperationTimeout: if the emulator does not answer in time.
        """
        if not concurrency.within(time.monotonic() + seconds, self.on_domain, uuid, question):
            raise exceptions.OperationTimeout(
                f"the emulator of guest {self.name(uuid)!r} does not answer within {seconds:g} s;"
                " 'stop' or 'reboot --hard' ends the emulator"
            )

    def require_agent(self, uuid: str, request: Request) -> None:
        """Return if a guest runs and has a channel for an agent.

        :raises InvalidGuestState: if the guest does not run.
        :raises AgentUnavailable: if the guest has no channel.
        """
        self.require(uuid, request)
        self.require_answer(uuid)
        check_channel(self.stored(uuid).guest)

    @property
    def agent_timeout(self) -> int:
        """Seconds that a guest's agent may take to answer."""
        return int(self.conf.hypervisor.guest_agent_timeout)


@contextlib.contextmanager
def _explained(uuid: str, domain: libvirt.virDomain | None) -> Iterator[None]:
    """Turn libvirt's errors about a guest's domain into this package's."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # destroyed meanwhile
            raise exceptions.GuestNotFound(uuid) from error
        if domain is not None and error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise exceptions.GuestBusy(
                f"guest {domain.name()!r} is busy, or its emulator does not answer:"
                f" {' '.join(str(error).split())}"
            ) from error
        raise


def report(guest: Guest, decision: acceleration.Decision) -> None:
    """Log how a guest is accelerated, with a warning if the accelerator is a fallback."""
    LOG.log(
        logging.WARNING if decision.fallback else logging.INFO,
        "Guest %s (%s) runs under %s (%s): %s",
        guest.name,
        guest.uuid,
        decision.accelerator,
        decision.accelerator.virtualization,
        decision.reason,
    )
