# SPDX-License-Identifier: Apache-2.0
"""The network interfaces of simulated guests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compute_driver import exceptions
from compute_driver.contract.states import Request
from compute_driver.drivers.fake.machine import Machines
from compute_driver.guest import Interface, PublishedPort, publishing, withdrawing


class Interfaces(Machines):
    """Changes the interfaces of simulated guests."""

    def attach_interface(self, uuid: str, interface: Interface) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.ATTACH_INTERFACE)
            nics = (*machine.guest.interfaces, interface)
            guest = dataclasses.replace(machine.guest, interfaces=nics)
            self._hardware(guest, machine.decision)
            self._require_ports(guest)
            machine.guest = guest

    def detach_interface(self, uuid: str, mac: str, *, timeout: float | None = None) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.DETACH_INTERFACE)
            guest = machine.guest
            nics = tuple(nic for nic in guest.interfaces if nic.mac != mac.lower())
            if nics == guest.interfaces:
                raise exceptions.InterfaceNotFound(guest.name, mac)
            machine.guest = dataclasses.replace(guest, interfaces=nics)

    def addresses(self, uuid: str) -> tuple[str, ...]:
        with self._machine(uuid) as machine:
            machine.require(Request.READ_ADDRESSES)
            return ()

    def publish(self, uuid: str, port: PublishedPort) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.PUBLISH)
            guest = publishing(machine.guest, port)
            self._require_ports(guest)
            machine.guest = guest

    def unpublish(self, uuid: str, port: PublishedPort) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.UNPUBLISH)
            machine.guest = withdrawing(machine.guest, port)

    def plug_interfaces(self, uuid: str) -> None:
        with self._machine(uuid):
            pass  # simulated switches lose no ports

    def replace_interfaces(self, uuid: str, interfaces: Sequence[Interface]) -> None:
        with self._machine(uuid) as machine:
            machine.require(Request.REPLACE_INTERFACES)
            guest = dataclasses.replace(machine.guest, interfaces=tuple(interfaces))
            self._hardware(guest, machine.decision)
            self._require_ports(guest)
            machine.guest = guest
