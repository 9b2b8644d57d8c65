# SPDX-License-Identifier: Apache-2.0
"""What operations are built from: the parts of one driver, and a way to undo steps."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState
from compute_driver.consoles import Served
from compute_driver.guest import Cpu, Guest
from compute_driver.hardware import acceleration, architecture, tuning
from compute_driver.host.facts import Host
from compute_driver.images.cache import ImageCache
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.inventory import Inventory
from compute_driver.network.ports import Ports
from compute_driver.operations.base.blueprint import Blueprint
from compute_driver.storage import file_disks, layout
from compute_driver.system import memory
from compute_driver.xml import domain as domain_xml
from compute_driver.xml import metadata

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
    :param ports: what interfaces are plugged into.
    """

    conf: cfg.ConfigOpts
    connection: Connection
    host: Host
    inventory: Inventory
    images: ImageCache
    ports: Ports

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, connection: Connection) -> Parts:
        """Return the parts that a configuration asks for."""
        instances = Path(conf.hypervisor.instances_path)
        return cls(
            conf,
            connection,
            Host(conf, connection),
            Inventory(connection, instances),
            ImageCache(conf),
            Ports(conf, instances),
        )

    def directory(self, uuid: str) -> Path:
        """Return the directory that holds all files of one guest."""
        return self.inventory.instances / uuid

    def plan(self, guest: Guest) -> layout.Layout:
        """Return which files the guest has or will have.

        :raises InvalidParameter: if its machine lacks what the guest asks for.
        """
        directory = self.directory(guest.uuid)
        configured = DiskFormat(self.conf.hypervisor.disk_format)
        return layout.plan(
            guest,
            directory,
            disk_format=file_disks.made_format(directory, layout.root_disk, configured),
            root=layout.RootKind.of(guest),
            rescue_format=file_disks.made_format(directory, layout.rescue_disk, configured),
        )

    def decide(self, guest: Guest) -> acceleration.Decision:
        """Choose the guest's accelerator, and refuse what this host cannot give it.

        :raises AccelerationUnavailable: if KVM is demanded and cannot be had.
        :raises InvalidParameter: names the nearest of what there is.
        :raises MissingDependency: if there is no emulator.
        """
        decision = self.host.detection.decide(guest.architecture)
        self.host.detection.check(guest, decision, self.cpu(guest, decision))
        return decision

    def cpu(self, guest: Guest, decision: acceleration.Decision) -> Cpu:
        """Return the processor that the guest gets, as configuration is now."""
        options = self.conf.hypervisor
        return tuning.cpu(
            guest,
            decision.accelerator,
            kvm_mode=options.kvm_cpu_mode,
            tcg_models=options.tcg_cpu_models,
        )

    def blueprint(self, guest: Guest, decision: acceleration.Decision | None = None) -> Blueprint:
        """Return what the guest becomes, as configuration and host are now.

        :param decision: the accelerator, if it is decided; else :meth:`decide` does.
        :raises: what :meth:`plan` and :meth:`decide` raise.
        """
        decision = decision or self.decide(guest)
        files = self.plan(guest)
        xml = domain_xml.build(
            guest,
            files,
            decision,
            self.cpu(guest, decision),
            self.host.detection.emulator(architecture.get(guest.architecture)),
            translation_buffer_mib=self._translation_buffer_mib(guest),
            served=Served.of(self.conf.hypervisor),
            hotplug_ports=self.conf.hypervisor.hotplug_ports,
        )
        return Blueprint(guest, files, decision, xml)

    def _translation_buffer_mib(self, guest: Guest) -> int:
        configured: int | None = self.conf.hypervisor.tcg_translation_buffer_mib
        if configured is not None:
            return configured
        return tuning.translation_buffer_mib(guest.memory_mib, memory.total_mib())

    def on_domain(self, uuid: str, function: Callable[[libvirt.virDomain], R]) -> R:
        """Call *function* with the guest's domain, through the gateway.

        :raises GuestNotFound: if this driver has no such guest.
        """
        return self.connection.run(self._on_domain, uuid, function)

    def _on_domain(
        self, connection: libvirt.virConnect, uuid: str, function: Callable[[libvirt.virDomain], R]
    ) -> R:
        domain, _ = domains.lookup_ours(connection, uuid, self.inventory.instances)
        try:
            return function(domain)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # destroyed meanwhile
                raise exceptions.GuestNotFound(uuid) from error
            raise

    def stored(self, uuid: str) -> metadata.Stored:
        """Return what the guest's domain has stored of it."""
        return self.connection.run(domains.lookup_ours, uuid, self.inventory.instances)[1]

    def state(self, uuid: str) -> PowerState:
        """Return what a guest is doing."""
        return self.on_domain(uuid, domains.state_of)

    def require(self, uuid: str, operation: str, accepted: Collection[PowerState]) -> PowerState:
        """Return what a guest is doing, if that allows the operation.

        :raises InvalidGuestState: if it does not.
        """
        name, state = self.on_domain(uuid, lambda domain: (domain.name(), domains.state_of(domain)))
        if state not in accepted:
            raise exceptions.InvalidGuestState(name, operation, state, accepted)
        return state

    def require_agent(self, uuid: str, operation: str) -> None:
        """Return if a guest runs and has a channel for an agent.

        :raises InvalidGuestState: if it does not run.
        :raises AgentUnavailable: if it has no channel.
        """
        self.require(uuid, operation, {PowerState.RUNNING})
        guest = self.stored(uuid).guest
        if not guest.guest_agent:
            raise exceptions.AgentUnavailable(f"guest {guest.name!r} has no channel for an agent")

    @property
    def agent_timeout(self) -> int:
        """How long a guest's agent may take, in seconds."""
        return int(self.conf.hypervisor.guest_agent_timeout)


def report(guest: Guest, decision: acceleration.Decision) -> None:
    """Log how a guest is accelerated, with a warning if it is not as asked for."""
    LOG.log(
        logging.WARNING if decision.fallback else logging.INFO,
        "Guest %s (%s) runs under %s (%s): %s",
        guest.name,
        guest.uuid,
        decision.accelerator,
        decision.accelerator.virtualization,
        decision.reason,
    )
