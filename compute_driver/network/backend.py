# SPDX-License-Identifier: Apache-2.0
"""The functions that each kind of interface brings.

A new kind is a word of :class:`compute_driver.choices.InterfaceKind`, a module with a backend, and
a row in :mod:`compute_driver.network.kinds`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Interface


@dataclasses.dataclass(frozen=True)
class Site:
    """The host and the driver of the interfaces.

    :param conf: configuration with group ``[hypervisor]``.
    :param instances: the directory of all guests of this driver.
    :param call: calls a function with an open connection to libvirt, and returns its result.
    :param aliases: returns libvirt's alias of each interface of a domain, by MAC address in lower
        case; None in a domain that is off.
    """

    conf: cfg.ConfigOpts
    instances: Path
    call: Callable[[Callable[[libvirt.virConnect], Any]], Any]
    aliases: Callable[[libvirt.virDomain], Mapping[str, str | None]]


@dataclasses.dataclass(frozen=True)
class Form:
    """How libvirt's ``<interface>`` names the network, bridge or device of an interface.

    :param type: the word of ``<interface type=>``.
    :param source: the attributes of ``<source>``; empty for no such element.
    """

    type: str
    source: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Backend(abc.ABC):
    """The way to plug in interfaces of one kind; by default libvirt plugs and unplugs them.

    All interfaces of a call have that kind and belong to one guest; no call comes without any.
    """

    @abc.abstractmethod
    def form(self, interface: Interface) -> Form:
        """Return how libvirt's ``<interface>`` is written."""

    @abc.abstractmethod
    def check_interfaces(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Refuse interfaces that this host cannot plug.

        :param uuid: the guest's UUID.
        :raises InvalidParameter: names the accepted values.
        :raises HostError: if the switch does not answer.
        """

    def prepare(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> bool:
        """Make ready for a power-on, before libvirt makes the interfaces' devices.

        :return: whether interfaces are left for :meth:`plug`.
        :raises: what :meth:`plug` and :meth:`unplug` raise.
        """
        return False

    def held(self, interfaces: Sequence[Interface]) -> contextlib.AbstractContextManager[object]:
        """Return a context that holds the ports of the host until QEMU opens them.

        :raises NotOnThisHost: if another program has a port.
        """
        return contextlib.nullcontext()

    def plug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Plug in the other interfaces, after libvirt has made their devices.

        :raises InvalidParameter: see :meth:`check_interfaces`.
        :raises HostError: if an interface cannot be plugged in; then all of them are unplugged.
        """

    def restore(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Plug in again the interfaces of a guest that runs whose ports the switch has lost.

        :raises InvalidParameter: see :meth:`check_interfaces`.
        :raises HostError: if an interface cannot be plugged in; the others stay.
        """

    def unplug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Unplug the interfaces that are plugged in.

        :raises HostError: if an interface cannot be unplugged.
        """

    def plugged(self, site: Site) -> dict[str, list[Interface]]:
        """Return the plugged interfaces of this driver's guests, by UUID of the guest."""
        return {}


def not_there(
    interface: Interface, sources: Collection[str], needs: str = ""
) -> exceptions.NotOnThisHost:
    """Return the error for an interface whose source the host does not have.

    :param sources: the names of the sources that the host has.
    :param needs: what a host without any source may lack; names the Debian package.
    """
    accepted = [f"{interface.kind}={name}" for name in sources]
    if not accepted:
        hint = f" (needs {needs})" if needs else ""
        accepted = [f"{InterfaceKind.USER}, because this host has no usable {interface.kind}{hint}"]
    value = f"{interface.kind}={interface.source}"
    return exceptions.NotOnThisHost("nic", value, accepted)
