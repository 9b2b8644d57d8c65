# SPDX-License-Identifier: Apache-2.0
"""Changing the network interfaces of guests."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from compute_driver.guest import Interface, PublishedPort


class Interfaces(abc.ABC):
    """Changes the network interfaces of guests, and the ports that they publish."""

    @abc.abstractmethod
    def attach_interface(self, uuid: str, interface: Interface) -> None:
        """Add an interface to a guest: at once if the guest runs, and to its description.

        If the attach fails, neither the guest nor its description has the interface.

        :raises InvalidParameter: if the MAC address or the device is taken, or the host has no
            such network.
        :raises InvalidGuestState: if the guest is suspended.
        :raises PlugFailed: if the interface cannot be plugged.
        :raises HostError: if the host fails otherwise, or the machine has no free slot.
        """

    @abc.abstractmethod
    def detach_interface(self, uuid: str, mac: str, *, timeout: float | None = None) -> None:
        """Remove an interface from a guest: at once if the guest runs, and from its description.

        :param mac: the interface's MAC address.
        :param timeout: seconds that the guest may take to release the interface; by default option
            detach_timeout.
        :raises InterfaceNotFound: if the guest has no interface with this address.
        :raises DeviceBusy: if the guest has not released the interface in time and keeps it.
        :raises OperationTimeout: if the guest's emulator does not answer.
        :raises InvalidGuestState: if the guest is suspended.
        """

    @abc.abstractmethod
    def addresses(self, uuid: str) -> tuple[str, ...]:
        """Return the IP addresses of a running guest, as its agent or the host's DHCP server tells.

        :return: no loopback and no link-local address; empty if no address is known.
        :raises InvalidGuestState: if the guest does not run.
        """

    @abc.abstractmethod
    def publish(self, uuid: str, port: PublishedPort) -> None:
        """Let a port of the host lead to a port of a guest: at once if the guest runs, and later.

        The guest's first interface of user-mode networking publishes the port.  If the operation
        fails, the guest publishes the ports from before.

        :raises InvalidParameter: if the guest has no such interface.
        :raises NotOnThisHost: if another program or another guest, also a guest that is off, has
            the host's port, or the user may not open the port.
        :raises InvalidGuestState: if the guest is suspended.
        :raises PlugFailed: if the emulator cannot open the port.
        """

    @abc.abstractmethod
    def unpublish(self, uuid: str, port: PublishedPort) -> None:
        """Close a published port: at once if the guest runs, and later.

        :raises InvalidParameter: if the guest does not publish the port.
        :raises InvalidGuestState: if the guest is suspended.
        :raises PlugFailed: if the emulator does not close the port.
        """

    @abc.abstractmethod
    def plug_interfaces(self, uuid: str) -> None:
        """Plug in again the interfaces of a guest that runs whose ports a switch has lost.

        Open vSwitch loses ports when its database is made anew.  Other ports stay as they are.  A
        guest that is off gets its ports at its next power-on.

        :raises InvalidParameter: if the host does not have a bridge of the guest any more.
        :raises PlugFailed: if an interface cannot be plugged.
        :raises HostError: if the switch does not answer.
        """

    @abc.abstractmethod
    def replace_interfaces(self, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Give a guest that is off these interfaces, in this order, in place of its old ones.

        If the replacement fails, the guest keeps its old interfaces.

        :raises InvalidParameter: if two interfaces have the same MAC address or device, or the
            machine or the host cannot have one of the interfaces.
        :raises InvalidGuestState: if the guest is not off.
        :raises HostError: if the host fails otherwise.
        """
