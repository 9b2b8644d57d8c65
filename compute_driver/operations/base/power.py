# SPDX-License-Identifier: Apache-2.0
"""Power a guest on and off."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import serial_port
from compute_driver.operations.base.context import Parts, report
from compute_driver.system import concurrency

LOG = logging.getLogger(__name__)


#: Seconds after which a guest that has not answered is asked again: one that was still booting
#: has missed the first time.
ASK_AGAIN = 10.0


#: How often a guest is started whose ports somebody else takes each time.
_TRIES = 10


#: QEMU's words for a port that is taken: of VNC and serial ports, and of SPICE.
_PORT_TAKEN = re.compile("Address already in use|binding socket to .* failed")


def power_on(parts: Parts, guest: Guest, *, suspended: bool = False, release: bool = True) -> None:
    """Start a guest that does not run, its interfaces plugged in; the only place to do so.

    Open vSwitch takes devices into its bridges once libvirt has made them and set them up: both
    would change a device's flags at the same time, and one undo what the other did.  libvirt puts
    devices of hybrid interfaces into bridges that have to be there before.

    :param suspended: whether it goes on from its saved memory.
    :param release: whether its processors run then; else it stays paused.
    :raises InvalidParameter: if a bridge is gone.
    :raises PlugFailed: if an interface cannot be plugged; the guest is as it was before.
    """
    plugs = parts.ports.prepare(guest)
    if release and not suspended and not plugs:
        _start(parts, guest.uuid, domains.start, suspended=False)
        return
    _start(parts, guest.uuid, domains.start_paused, suspended=suspended)
    if plugs:
        try:
            parts.ports.plug(guest)
        except BaseException:
            back = libvirt.virDomain.managedSave if suspended else domains.power_off
            parts.on_domain(guest.uuid, back)
            raise
    if release:
        parts.on_domain(guest.uuid, libvirt.virDomain.resume)


def rebuild(parts: Parts, uuid: str) -> Guest:
    """Define the domain anew from the stored description, as configuration and host are now.

    The accelerator is decided again.  It holds from the next power-on.

    :return: the stored description.
    :raises: what :meth:`Parts.decide` raises, and the domain stays as it was.
    """
    guest = parts.stored(uuid).guest
    made = parts.blueprint(guest)
    parts.connection.run(domains.define, made.xml)
    report(guest, made.decision)
    return guest


def shut_down(parts: Parts, uuid: str, timeout: float) -> None:
    """Shut down what runs, by force after *timeout* seconds; drop what was suspended."""
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        while parts.state(uuid) is PowerState.RUNNING and time.monotonic() < deadline:
            failure = None
            try:
                # An emulator that hangs would hold the call for good.
                concurrency.within(deadline, parts.on_domain, uuid, _ask_to_shut_down)
            except exceptions.LibvirtError as error:
                # QEMU 7.2 exits at once when a riscv64 guest powers off, even amid the question.
                failure = error
            stopped = watch.wait({events.STOPPED}, min(deadline, time.monotonic() + ASK_AGAIN))
            if failure and not stopped:
                raise failure
    parts.on_domain(uuid, domains.power_off)


def _start(
    parts: Parts, uuid: str, start: Callable[[libvirt.virDomain], None], *, suspended: bool
) -> None:
    """Start a domain, again if somebody took a port of its consoles that was free just before.

    libvirt looks for free ports for screens, and we do for the serial console, but QEMU takes them
    some time later.
    """
    avoided: set[int | None] = set()
    for left in reversed(range(_TRIES)):
        with serial_port.assigned(parts, uuid, avoided, suspended=suspended) as port:
            try:
                parts.on_domain(uuid, start)
                return
            except exceptions.LibvirtError as error:
                if not left or not _PORT_TAKEN.search(str(error)):
                    raise
                LOG.info("Guest %s is started again, with other ports: %s", uuid, error)
        avoided.add(port)


def _ask_to_shut_down(domain: libvirt.virDomain) -> None:
    # Without flags libvirt asks the agent first.
    button = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
    flags = 0 if domains.agent_answers(domain) else button
    domains.unless_stopped(lambda: domain.shutdownFlags(flags))
