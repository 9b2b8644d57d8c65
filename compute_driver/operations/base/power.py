# SPDX-License-Identifier: Apache-2.0
"""Power a guest on and off.

A guest may have to be paused while it is powered on.  A file in its directory marks this time: so
whoever finds the file after a sudden death knows that no user has paused the guest.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import changes, serial_port
from compute_driver.operations.base.context import Parts, report
from compute_driver.storage import disks
from compute_driver.system import concurrency, steps
from compute_driver.system.filesystem import host_errors

LOG = logging.getLogger(__name__)

#: Seconds after which a guest that has not answered is asked again: a guest that was still booting
#: has missed the first request.
ASK_AGAIN = 10.0

#: Seconds that an emulator may take to answer a question.
_ANSWER_SECONDS = 10.0

#: How often a guest is started whose ports somebody else takes each time.
_TRIES = 10

#: The file that marks a guest which is paused only until it is powered on.  As its name begins with
#: a dot, no resize moves it.
_MARK = ".starting"

#: QEMU's words for a port that is taken: of VNC and serial ports, and of SPICE.
_PORT_TAKEN = re.compile("Address already in use|binding socket to .* failed")


def power_on(parts: Parts, guest: Guest, *, suspended: bool = False, release: bool = True) -> None:
    """Start a guest that does not run, and plug its interfaces; no other code does so.

    Open vSwitch takes devices into its bridges once libvirt has made them and set them up: both
    would change a device's flags at the same time, and undo each other's changes.  libvirt puts
    devices of hybrid interfaces into bridges that have to be there before.

    :param suspended: whether the guest goes on from its saved memory.
    :param release: whether the guest's processors run in the end; else the guest stays paused.
    :raises InvalidParameter: if a bridge is gone.
    :raises PlugFailed: if an interface cannot be plugged; the guest is as it was before.
    """
    plugs = parts.ports.prepare(guest)
    steps.announce("ports prepared")
    if release and not suspended and not plugs:
        _start(parts, guest.uuid, domains.start, suspended=False)
        steps.announce("guest started")
        return
    mark = _mark(parts, guest.uuid)
    with host_errors(f"{mark} cannot be made"):
        mark.touch(0o600)
    try:
        _start(parts, guest.uuid, domains.start_paused, suspended=suspended)
        steps.announce("guest started, paused")
        if plugs:
            parts.ports.plug(guest)
            steps.announce("ports plugged")
        if release:
            parts.on_domain(guest.uuid, release_processors)
            steps.announce("guest released")
    except BaseException:
        # If this fails as well, the mark stays, and the next operation puts the guest in order.
        parts.on_domain(guest.uuid, _save_again if suspended else domains.power_off)
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def release_processors(domain: libvirt.virDomain) -> None:
    """Let a paused guest go on."""
    if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
        domain.pMWakeup()  # the guest has put itself to sleep
    else:
        domain.resume()


def is_interrupted(parts: Parts, uuid: str) -> bool:
    """Tell whether a power-on of a guest has begun, and has neither ended nor been taken back."""
    return _mark(parts, uuid).exists()


def wait(parts: Parts, uuid: str) -> None:
    """Return when libvirt has carried out the call to start a guest whose caller has died.

    An emulator that hangs is not waited for any longer: a stop or a hard reboot may end it.
    """
    if is_interrupted(parts, uuid):
        with contextlib.suppress(exceptions.GuestNotFound):
            deadline = time.monotonic() + _ANSWER_SECONDS
            if not concurrency.within(deadline, parts.on_domain, uuid, domains.settle):
                LOG.warning(
                    "The emulator of guest %s did not answer within %g s", uuid, _ANSWER_SECONDS
                )


def mend(parts: Parts, uuid: str) -> None:
    """Let a guest go on that is paused only because its power-on was interrupted.

    A guest that a user has paused stays paused.  The guest's interfaces are plugged in before.
    """
    if is_interrupted(parts, uuid):
        with contextlib.suppress(exceptions.GuestNotFound):
            if parts.state(uuid) is PowerState.PAUSED:
                parts.on_domain(uuid, release_processors)
        _mark(parts, uuid).unlink(missing_ok=True)


def rebuild(parts: Parts, uuid: str) -> Guest:
    """Define the domain anew from the stored description, as configuration and host are now.

    The accelerator is decided again.  The new domain holds from the next power-on.

    :return: the stored description.
    :raises DiskUnusable: if a disk is gone, or another client has put it where the driver cannot
        use it; the domain stays as it was.
    :raises: what :meth:`Parts.decide` raises; likewise.
    """
    guest = parts.stored(uuid).guest
    made = parts.blueprint(guest)
    disks.require(made.layout, guest.name)
    changes.warn(parts, uuid)
    parts.connection.run(domains.define, made.xml)
    steps.announce("domain redefined")
    if parts.plan(guest).places != made.layout.places:
        return rebuild(parts, uuid)  # another client has moved a disk meanwhile
    report(guest, made.decision)
    return guest


def shut_down(parts: Parts, uuid: str, timeout: float) -> None:
    """Shut down a guest that runs, by force after *timeout* seconds; drop saved memory."""
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
    power_off(parts, uuid)


def power_off(parts: Parts, uuid: str) -> None:
    """Power a guest off at once, and drop its saved memory; nothing if it has neither."""
    parts.on_domain(uuid, domains.power_off)
    steps.announce("guest powered off")


def _save_again(domain: libvirt.virDomain) -> None:
    if domain.isActive():  # else its saved memory is still there
        domain.managedSave()


def _mark(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / _MARK


def _start(
    parts: Parts, uuid: str, start: Callable[[libvirt.virDomain], None], *, suspended: bool
) -> None:
    """Start a domain, and again if somebody has taken a port that its consoles were to have.

    libvirt finds free ports for screens, and this driver finds one for the serial console, but QEMU
    takes them some time later.
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
