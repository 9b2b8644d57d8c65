# SPDX-License-Identifier: Apache-2.0
"""Changes the interfaces of guests: descriptions, devices and ports together.

The description of a guest has an interface before the running guest gets the interface, and until
the guest has let go of it.  So an operation was interrupted if a described interface is not in the
domain; :func:`mend` ends the operation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Collection, Container

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE
from compute_driver.guest import Guest, Interface, PublishedPort, require_unpublished
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.libvirt.description import Description
from compute_driver.operations.base import power, redefining
from compute_driver.operations.base.blueprint import Blueprint
from compute_driver.operations.base.context import Parts
from compute_driver.xml import metadata

LOG = logging.getLogger(__name__)

#: Seconds that a guest may take to release an interface whose attachment has failed.
TAKE_BACK_SECONDS = 10.0

#: Seconds that an emulator may take to pass a request for release to the guest.
ASK_SECONDS = 30.0

#: QEMU's words for a guest that was asked before, and has not answered.
_PENDING = ("already in the process of unplug", "unplug is pending")


def mend(parts: Parts, uuid: str) -> None:
    """Forget described interfaces that a guest lacks, and plug in the interfaces that it has.

    The driver asks the guest to release the driver's interfaces that the description lacks, and
    unplugs their ports even if the guest does not release them.  Interfaces that the driver has
    neither plugged nor described last belong to other clients, and stay.  Hybrid interfaces are
    plugged in before a guest has them, and not again afterwards.

    :raises OperationTimeout: if the emulator does not answer.
    """
    with contextlib.suppress(exceptions.GuestNotFound):
        stored = parts.stored(uuid)
        aliases = parts.on_domain(uuid, domains.interfaces)
        kept = tuple(nic for nic in stored.guest.interfaces if nic.mac in aliases)
        guest = dataclasses.replace(stored.guest, interfaces=kept)
        plugged = parts.ports.plugged().get(uuid, [])
        ports = {nic.switch_port for nic in kept}
        own = {nic.mac for nic in (*plugged, *_described_last(parts, uuid))}
        by_port = {nic.switch_port: nic for nic in (*plugged, *stored.guest.interfaces)}
        parts.ports.unplug(uuid, [nic for port, nic in by_port.items() if port not in ports])
        if guest != stored.guest:
            store(parts, stored, guest)
        for mac in (aliases.keys() & own) - {nic.mac for nic in kept}:
            _let_go_if_possible(parts, uuid, mac)
        if parts.state(uuid) in ACTIVE:
            _plug_missing(parts, guest, {nic.switch_port for nic in plugged})


def forget_released(parts: Parts, uuid: str) -> None:
    """Forget described interfaces that a guest lacks, and unplug their ports."""
    with contextlib.suppress(exceptions.GuestNotFound):
        stored = parts.stored(uuid)
        present = parts.on_domain(uuid, domains.interfaces)
        kept = tuple(nic for nic in stored.guest.interfaces if nic.mac in present)
        if kept != stored.guest.interfaces:
            parts.ports.unplug(uuid, [nic for nic in stored.guest.interfaces if nic not in kept])
            store(parts, stored, dataclasses.replace(stored.guest, interfaces=kept))


def _let_go_if_possible(parts: Parts, uuid: str, mac: str) -> None:
    """Ask a guest to release an interface, and log the interface if the guest keeps it."""
    try:
        let_go(parts, uuid, mac, TAKE_BACK_SECONDS)
    except exceptions.DeviceBusy as error:
        LOG.warning("%s; the interface stays, unplugged, until power-off", error)


def _plug_missing(parts: Parts, guest: Guest, plugged: Container[str | None]) -> None:
    """Publish all ports of a guest again, and plug in the interfaces that are not plugged in."""
    for interface in guest.interfaces:
        if interface.published:
            _publish_again(parts, guest, interface)
        elif interface.switch_port not in plugged:
            plug(parts, guest, interface)


def _publish_again(parts: Parts, guest: Guest, interface: Interface) -> None:
    """Publish the ports of an interface; a port that another program has now stays closed."""
    parts.require_answer(guest.uuid)
    try:
        plug(parts, guest, interface)
    except exceptions.PlugFailed as error:
        LOG.warning("%s", error)


def _described_last(parts: Parts, uuid: str) -> tuple[Interface, ...]:
    """Return the interfaces of a guest as this driver has described the guest last."""
    latest = Description.latest(parts.directory(uuid)).intact()
    stored = None if latest is None else metadata.read(latest)
    return () if stored is None else stored.guest.interfaces


def only(guest: Guest, interface: Interface) -> Guest:
    """Return a guest with one of its interfaces."""
    return dataclasses.replace(guest, interfaces=(interface,))


def with_port(guest: Guest, port: PublishedPort) -> Guest:
    """Return a guest with the one interface that publishes a port, and with this port only."""
    (owner,) = (nic for nic in guest.interfaces if port in nic.published)
    return only(guest, dataclasses.replace(owner, published=(port,)))


def require_ports(parts: Parts, guest: Guest, before: Collection[PublishedPort] = ()) -> None:
    """Refuse a port that a guest begins to publish, and that another guest or program has.

    :param before: the ports that the guest publishes already.
    :raises NotOnThisHost: names the other guest, on or off, or the reason of the host.
    """
    new = [port for port in guest.published if port not in before]
    if new:
        require_unpublished(guest, new, (info.guest for info in parts.inventory.guests()))
        for port in new:
            with parts.ports.held(with_port(guest, port)):
                pass


def plug(parts: Parts, guest: Guest, interface: Interface) -> None:
    """Plug in one interface of a guest that runs."""
    parts.ports.plug(only(guest, interface))


def store(parts: Parts, stored: metadata.Stored, guest: Guest) -> Blueprint:
    """Store the description of a guest, from its next power-on and of its domain that runs.

    :return: the guest from its next power-on.
    """
    blueprint = redefining.redefine(parts, guest, stored.decision)
    contents = metadata.contents(stored, guest)
    parts.on_domain(guest.uuid, lambda domain: domains.describe(domain, contents))
    return blueprint


def take_back(parts: Parts, uuid: str, interface: Interface) -> None:
    """Take an interface from a guest whose operation has failed."""
    try:
        let_go(parts, uuid, interface.mac, TAKE_BACK_SECONDS)
    finally:
        parts.ports.unplug(uuid, [interface])


def let_go(parts: Parts, uuid: str, mac: str, timeout: float) -> None:
    """Ask a guest to release an interface, until the guest does so.

    :param timeout: seconds.
    :raises DeviceBusy: if the guest has not released the interface in time.
    :raises OperationTimeout: if the guest's emulator does not answer.
    """
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        while (alias := parts.on_domain(uuid, domains.interfaces).get(mac)) is not None:
            parts.ask_emulator(uuid, functools.partial(_ask, alias=alias), ASK_SECONDS)
            until = min(deadline, time.monotonic() + power.ASK_AGAIN)
            if _is_removed(watch, alias, until):
                return
            if time.monotonic() >= deadline:
                raise exceptions.DeviceBusy(
                    f"guest {parts.name(uuid)!r} did not let go of interface {mac} within"
                    f" {timeout:g} s"
                )


def _is_removed(watch: events.Watch, alias: str, until: float) -> bool:
    """Wait for the removal of a device; return False if its time is over."""
    while (event := watch.wait({events.DEVICE_REMOVED}, until)) is not None:
        if event.device == alias:
            return True
    return False


def _ask(domain: libvirt.virDomain, alias: str) -> None:
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        gone = error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING
        if not gone and not any(text in str(error) for text in _PENDING):
            raise
