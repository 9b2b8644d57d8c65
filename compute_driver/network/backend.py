# SPDX-License-Identifier: Apache-2.0
"""What a kind of interface has to bring, so that guests can use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import Interface


@dataclasses.dataclass(frozen=True)
class Site:
    """The host and the driver that interfaces are plugged for.

    :param conf: configuration with group ``[hypervisor]``.
    :param instances: the directory of all guests of this driver.
    :param call: calls a function with an open connection to libvirt, and returns its result.
    """

    conf: cfg.ConfigOpts
    instances: Path
    call: Callable[[Callable[[libvirt.virConnect], Any]], Any]


@dataclasses.dataclass(frozen=True)
class Form:
    """How libvirt's ``<interface>`` says what an interface is plugged into.

    :param type: the word of ``<interface type=>``.
    :param source: the attributes of ``<source>``; no such element if empty.
    """

    type: str
    source: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Backend(Protocol):
    """What interfaces of one kind are plugged into.

    Interfaces in calls are of that kind and belong to one guest; a backend is not called without.
    """

    def form(self, interface: Interface) -> Form:
        """Return how libvirt's ``<interface>`` is written."""

    def check(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Refuse interfaces that this host cannot plug.

        :param uuid: the guest's.
        :raises InvalidParameter: names the accepted values.
        :raises HostError: if what they are plugged into does not answer.
        """

    def prepare(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> bool:
        """Make ready for a power-on, before libvirt makes the interfaces' devices.

        :return: whether interfaces are left for :meth:`plug`.
        :raises: what :meth:`plug` and :meth:`unplug` raise.
        """

    def plug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Plug the interfaces in that :meth:`prepare` has not, once libvirt has made their devices.

        :raises InvalidParameter: see :meth:`check`.
        :raises HostError: if one cannot be plugged; then none of them is.
        """

    def unplug(self, site: Site, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Unplug the interfaces that are plugged in.

        :raises HostError: if one cannot be unplugged.
        """

    def plugged(self, site: Site) -> dict[str, list[Interface]]:
        """Return the interfaces of this driver's guests that are plugged in, by guest's UUID."""


def not_there(interface: Interface, sources: Collection[str]) -> exceptions.NotOnThisHost:
    """Return the refusal of an interface whose source the host does not have.

    :param sources: the names of those that the host has.
    """
    accepted = [f"{interface.kind}={name}" for name in sources] or [str(InterfaceKind.USER)]
    value = f"{interface.kind}={interface.source}"
    return exceptions.NotOnThisHost("nic", value, accepted)
