# SPDX-License-Identifier: Apache-2.0
"""Attach interfaces to guests that are there, and detach them.

An interface is stored before a running guest gets it, and is stored until it has let go.  So one
that is stored and not there was being changed when the operation died; :func:`mend` ends it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, OFF
from compute_driver.guest import Guest, Interface
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations import power
from compute_driver.operations.base.context import Parts, Undo
from compute_driver.system import concurrency
from compute_driver.xml import interface as interface_xml
from compute_driver.xml import metadata

LOG = logging.getLogger(__name__)

#: The operations that are mended; those that power on start guests before they plug them in.
OPERATIONS = frozenset({"attach_interface", "detach_interface", "start", "resume", "reboot"})

#: Seconds that a guest may take to let go of what it was given in vain.
_TAKE_BACK = 10.0

#: Seconds that an emulator may take to pass such a request on.
_ASK_SECONDS = 30.0

#: One that is suspended goes on with the devices that it was suspended with.
_ACCEPTED = ACTIVE | OFF

#: What QEMU says when it is asked while the guest is still thinking about it.
_PENDING = ("already in the process of unplug", "unplug is pending")


def attach(parts: Parts, uuid: str, interface: Interface, held: concurrency.Lock) -> None:
    """Give a guest a further interface: in its description and where it runs, or nowhere.

    :param held: the guest's lock.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.attach_interface`.
    """
    state = parts.require(uuid, "attach an interface to", _ACCEPTED)
    stored = parts.stored(uuid)
    guest = dataclasses.replace(stored.guest, interfaces=(*stored.guest.interfaces, interface))
    parts.ports.check(_only(guest, interface))
    # Of the whole domain: some of what an interface is comes from the guest.
    device = interface_xml.of(_xml(parts, stored, guest), interface.mac)
    undo = Undo()
    try:
        with undo:
            undo.add(f"description of {guest.name}", _store, parts, stored, stored.guest)
            _store(parts, stored, guest)
            if state in ACTIVE:
                undo.add(f"interface {interface.mac}", _take_back, parts, uuid, interface)
                parts.ports.prepare(_only(guest, interface))
                parts.on_domain(uuid, lambda domain: domains.attach(domain, device))
                _plug(parts, guest, interface)
            undo.commit()
    finally:
        held.keep = undo.failed


def detach(parts: Parts, uuid: str, mac: str, held: concurrency.Lock, *, timeout: float) -> None:
    """Take an interface from a guest: where it runs and from its description, or nowhere.

    :param mac: the interface's hardware address.
    :param held: the guest's lock.
    :param timeout: seconds that the guest may take to let go.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.detach_interface`.
    """
    state = parts.require(uuid, "detach an interface from", _ACCEPTED)
    stored = parts.stored(uuid)
    found = [each for each in stored.guest.interfaces if each.mac == mac.lower()]
    if not found:
        raise exceptions.InterfaceNotFound(stored.guest.name, mac)
    if state in ACTIVE:
        _let_go(parts, uuid, found[0].mac, timeout)
    held.keep = True
    # Before the record of it goes with the description.
    parts.ports.unplug(uuid, found)
    rest = tuple(each for each in stored.guest.interfaces if each not in found)
    _store(parts, stored, dataclasses.replace(stored.guest, interfaces=rest))
    held.keep = False


def replace(parts: Parts, uuid: str, wanted: tuple[Interface, ...]) -> None:
    """Give a guest that is off other interfaces, in place of all that it has.

    The description changes last, and at once; what is plugged in is so anew at each power-on.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.replace_interfaces`.
    """
    parts.require(uuid, "replace the interfaces of", OFF)
    stored = parts.stored(uuid)
    before = stored.guest.interfaces
    guest = dataclasses.replace(stored.guest, interfaces=wanted)
    parts.ports.check(guest)
    parts.draft(guest, stored.decision)  # refuses cards that the machine lacks
    parts.ports.unplug(uuid, [each for each in before if each not in wanted])
    _store(parts, stored, guest)


def mend(parts: Parts, uuid: str) -> None:
    """Forget the interfaces that a guest has not got, and plug in those that it has.

    What it has and should not is asked back; where a guest keeps it, it leads nowhere.  Hybrid
    interfaces are plugged in before a guest has them, and not again beneath it.

    :raises OperationTimeout: if the emulator does not answer.
    """
    with contextlib.suppress(exceptions.GuestNotFound):
        stored = parts.stored(uuid)
        there = parts.on_domain(uuid, domains.interfaces)
        kept = tuple(each for each in stored.guest.interfaces if each.mac in there)
        guest = dataclasses.replace(stored.guest, interfaces=kept)
        plugged = parts.ports.plugged().get(uuid, [])
        ports = {each.switch_port for each in kept}
        gone = {each.switch_port: each for each in (*plugged, *stored.guest.interfaces)}
        parts.ports.unplug(uuid, [each for port, each in gone.items() if port not in ports])
        if guest != stored.guest:
            _store(parts, stored, guest)
        for mac in there.keys() - {each.mac for each in kept}:
            try:
                _let_go(parts, uuid, mac, _TAKE_BACK)
            except exceptions.DeviceBusy as error:
                LOG.warning("%s; it has it, unplugged, until it is powered off", error)
        if parts.state(uuid) in ACTIVE:
            ready = {each.switch_port for each in plugged}
            for interface in kept:
                if interface.switch_port not in ready:
                    _plug(parts, guest, interface)


def _only(guest: Guest, interface: Interface) -> Guest:
    return dataclasses.replace(guest, interfaces=(interface,))


def _plug(parts: Parts, guest: Guest, interface: Interface) -> None:
    parts.ports.plug(_only(guest, interface))


def _xml(parts: Parts, stored: metadata.Stored, guest: Guest) -> str:
    return parts.blueprint(guest, stored.decision).xml


def _store(parts: Parts, stored: metadata.Stored, guest: Guest) -> None:
    """Store what a guest is to be from its next power-on, and that it is so now."""
    parts.connection.run(domains.define, _xml(parts, stored, guest))
    text = metadata.content(guest, stored.directory, stored.decision)
    parts.on_domain(guest.uuid, lambda domain: domains.describe(domain, text))


def _take_back(parts: Parts, uuid: str, interface: Interface) -> None:
    try:
        _let_go(parts, uuid, interface.mac, _TAKE_BACK)
    finally:
        parts.ports.unplug(uuid, [interface])


def _let_go(parts: Parts, uuid: str, mac: str, timeout: float) -> None:
    """Ask a guest for an interface until it lets go.

    :raises DeviceBusy: if it has not by the deadline.
    :raises OperationTimeout: if its emulator does not answer.
    """
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        while True:
            aliases = parts.on_domain(uuid, domains.interfaces)
            alias = aliases.get(mac)
            if alias is None:
                return
            answered = concurrency.within(
                time.monotonic() + _ASK_SECONDS,
                parts.on_domain,
                uuid,
                functools.partial(_ask, alias=alias),
            )
            if not answered:
                raise exceptions.OperationTimeout(
                    f"the emulator of guest {uuid} did not answer within {_ASK_SECONDS:g} s"
                )
            until = min(deadline, time.monotonic() + power.ASK_AGAIN)
            while (event := watch.wait({events.DEVICE_REMOVED}, until)) is not None:
                if event.device == alias:
                    return
            if time.monotonic() >= deadline:
                raise exceptions.DeviceBusy(
                    f"guest {uuid} did not let go of interface {mac} within {timeout:g} s"
                )


def _ask(domain: libvirt.virDomain, alias: str) -> None:
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        gone = error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING
        if not gone and not any(text in str(error) for text in _PENDING):
            raise
