# SPDX-License-Identifier: Apache-2.0
"""Power a guest on and off.

Marks in the guest's directory tell, after a sudden death, that no user has stopped or paused the
guest; see :mod:`compute_driver.operations.base.marks`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
from collections.abc import Callable

import libvirt

from compute_driver import exceptions
from compute_driver.choices import OFF, PowerState
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import kernels, marks, serial_port
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.marks import Mark
from compute_driver.operations.base.undo import Undo
from compute_driver.system import concurrency, steps

LOG = logging.getLogger(__name__)

#: Seconds after which a guest that has not answered is asked again: a guest that was still booting
#: has missed the first request.
ASK_AGAIN = 10.0

#: How often a guest is started whose ports another program takes each time.
_TRIES = 10

#: Errors after which a guest may start later.
_DOWN = (exceptions.LibvirtUnavailable, exceptions.OpenVSwitchUnavailable)

#: QEMU's words for a port that is taken: of VNC and serial ports, and of SPICE.
_PORT_TAKEN = re.compile("Address already in use|binding socket to .* failed")


def power_on(parts: Parts, guest: Guest, *, suspended: bool = False, release: bool = True) -> None:
    """Start a guest that does not run, and plug its interfaces; no other code does so.

    Open vSwitch takes devices into its bridges once libvirt has made them and set them up: both
    would change a device's flags at the same time, and undo each other's changes.  libvirt puts
    devices of hybrid interfaces into bridges that have to be there before.

    If the power-on fails, the guest is as it was before; a guest that another client has started
    meanwhile runs on.

    :param suspended: whether the guest goes on from its saved memory.
    :param release: whether the guest's processors run in the end; else the guest stays paused, and
        its power-on has not ended.
    :raises InvalidParameter: if a bridge is gone.
    :raises ImageUnacceptable: if QEMU cannot load the guest's kernel.
    :raises PlugFailed: if an interface cannot be plugged.
    """
    uuid = guest.uuid
    plugs = parts.ports.prepare(guest)
    steps.announce("ports prepared")
    paused = plugs or suspended or not release
    to_run = Mark.TO_RUN in marks.find(parts, uuid)

    def start(domain: libvirt.virDomain) -> bool:
        marks.begin(parts, uuid, paused=paused)
        steps.announce("start noted")
        started = (domains.start_paused if paused else domains.start)(domain)
        marks.want(parts, uuid, running=False)  # from now on, a guest that is off was stopped
        return started

    with kernels.named(guest), Undo() as undo, parts.ports.held(guest) as held:
        undo.add(
            f"power-on of {guest.name}",
            functools.partial(_take_back, parts, uuid, suspended=suspended, to_run=to_run),
        )
        if not _start(parts, uuid, start, suspended=suspended):
            undo.commit()  # another client has started the guest
        steps.announce("guest started, paused" if paused else "guest started")
        held.close()
        if plugs:
            parts.ports.plug(guest)
            steps.announce("ports plugged")
        if paused and release:
            parts.on_domain(uuid, release_processors)
            steps.announce("guest released")
        undo.commit()
    if release:
        marks.end(parts, uuid)


def power_on_with(
    parts: Parts, guest: Guest, network: contextlib.AbstractContextManager[object] | None
) -> None:
    """Start a guest, which runs when its network is ready.

    If the network fails, the guest is off.

    :param network: entered before the start, and left when all interfaces are plugged in; None if
        the guest does not wait for its network.
    """
    if network is None:
        power_on(parts, guest)
        return
    uuid = guest.uuid
    with Undo() as undo:
        with network:
            power_on(parts, guest, release=False)
            undo.add(
                f"power-on of {guest.name}",
                functools.partial(_take_back, parts, uuid, suspended=False, to_run=False),
            )
        steps.announce("network ready")
        parts.on_domain(uuid, release_processors)
        steps.announce("guest released")
        undo.commit()
    marks.end(parts, uuid)


def release_processors(domain: libvirt.virDomain) -> None:
    """Let a paused guest go on; nothing if the guest runs."""
    state = domain.state()[0]
    if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
        domain.pMWakeup()  # the guest has put itself to sleep
    elif state != libvirt.VIR_DOMAIN_RUNNING:
        domain.resume()


def wait(parts: Parts, uuid: str) -> None:
    """Return when libvirt has carried out the call to start a guest whose caller has died.

    :raises OperationTimeout: if the emulator hangs: a stop or a hard reboot may end the emulator.
    """
    if Mark.STARTING in marks.find(parts, uuid):
        with contextlib.suppress(exceptions.GuestNotFound):
            parts.require_answer(uuid)


def on_again(parts: Parts, uuid: str, undo: Undo, *, running: bool) -> None:
    """Note whether a guest runs in the end, before an operation powers the guest off.

    If the operation fails or dies before it powers the guest on, the guest is powered on.
    """
    undo.add(f"power of guest {uuid}", mend, parts, uuid)
    marks.want(parts, uuid, running=running)


def mend(parts: Parts, uuid: str) -> None:
    """Let a guest run that is off or paused only because an operation was interrupted.

    A guest that a user has stopped or paused stays so.  The interfaces of a paused guest are
    plugged in before.  A guest that does not start stays off: the next mender does not try again.

    :raises HostError: if libvirt or Open vSwitch is down, or libvirt cannot let the guest go on.
    """
    found = marks.find(parts, uuid)
    if not found:
        return
    with contextlib.suppress(exceptions.GuestNotFound):
        state = parts.state(uuid)
        if Mark.STARTING in found and state is PowerState.PAUSED:
            parts.on_domain(uuid, release_processors)
        elif Mark.TO_RUN in found and state in OFF:
            try:
                power_on(parts, parts.stored(uuid).guest)
            except _DOWN:
                raise
            except exceptions.ComputeDriverError as error:
                LOG.warning("Guest %s was on, and does not start again: %s", uuid, error)
    marks.clear(parts, uuid)


def shut_down(parts: Parts, uuid: str, timeout: float) -> None:
    """Shut down a guest that runs, by force after *timeout* seconds; drop saved memory."""
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        while parts.state(uuid) is PowerState.RUNNING and time.monotonic() < deadline:
            failure = None
            try:
                # An emulator that hangs would hold the call for good.
                concurrency.within(deadline, parts.on_domain, uuid, _ask_to_shut_down)
            except exceptions.GuestBusy as error:
                LOG.info("Guest %s could not be asked to shut down: %s", uuid, error)
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


def _take_back(parts: Parts, uuid: str, *, suspended: bool, to_run: bool) -> None:
    """Make a guest as it was before its power-on, with its mark."""
    parts.on_domain(uuid, _save_again if suspended else domains.power_off)
    marks.want(parts, uuid, running=to_run)
    marks.end(parts, uuid)


def _save_again(domain: libvirt.virDomain) -> None:
    if domain.isActive():  # else its saved memory is still there
        domain.managedSave()


def _start(
    parts: Parts, uuid: str, start: Callable[[libvirt.virDomain], bool], *, suspended: bool
) -> bool:
    """Start a domain, and again if another program has taken a port of its consoles.

    libvirt finds free ports for screens, and this driver finds one for the serial console, but QEMU
    takes them some time later.

    :return: whether *start* has started the domain, and no other client.
    """
    avoided: list[int | None] = []
    while True:
        with serial_port.assigned(parts, uuid, avoided, suspended=suspended) as port:
            try:
                return parts.on_domain(uuid, start)
            except exceptions.LibvirtError as error:
                if len(avoided) + 1 == _TRIES or not _PORT_TAKEN.search(str(error)):
                    raise
                LOG.info("Guest %s is started again, with other ports: %s", uuid, error)
        avoided.append(port)


def _ask_to_shut_down(domain: libvirt.virDomain) -> None:
    flags = domains.agent_or_button(domain, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    domains.unless_stopped(lambda: domain.shutdownFlags(flags))
