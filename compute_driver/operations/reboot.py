# SPDX-License-Identifier: Apache-2.0
"""Reboot a guest: by asking it, or by rebuilding its domain."""

from __future__ import annotations

import contextlib
import logging
import time

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, ALIVE, PowerState, RebootKind
from compute_driver.contract.states import Request
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import power, redefining, restoring
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.system import concurrency
from compute_driver.xml.present import Present

LOG = logging.getLogger(__name__)


def reboot(
    parts: Parts,
    uuid: str,
    kind: RebootKind,
    timeout: float,
    op: Operation,
    network: contextlib.AbstractContextManager[object] | None,
    *,
    fall_back: bool,
) -> RebootKind:
    """Reboot a guest; softly first if *kind* says so, hard after *timeout* seconds.

    :param op: the operation, whose failure powers the guest on.
    :param network: see :meth:`compute_driver.driver.ComputeDriver.reboot`.
    :param fall_back: likewise.
    :return: the kind that was carried out in the end.
    :raises OperationTimeout: if the guest does not reboot softly, and *fall_back* is false.
    """
    if kind is RebootKind.SOFT:
        parts.require(uuid, Request.REBOOT_SOFTLY)
        if _soft(parts, uuid, timeout):
            return RebootKind.SOFT
        text = f"guest {parts.name(uuid)!r} did not reboot softly"
        if not fall_back:
            raise exceptions.OperationTimeout(text)
        LOG.warning("%s: hard reboot", text)
    _hard(parts, uuid, op, network)
    return RebootKind.HARD


def _hard(
    parts: Parts,
    uuid: str,
    op: Operation,
    network: contextlib.AbstractContextManager[object] | None,
) -> None:
    """Build the domain anew from the stored description, and power the guest off and on.

    If the domain cannot be built, libvirt refuses it, or its interfaces cannot be plugged in, the
    guest runs on; a guest that was off stays off.  A guest whose emulator hangs is powered off
    first; if the rest fails, the guest is powered on again.
    """
    restoring.restore_undefined(parts, uuid)
    running = parts.state(uuid) in ALIVE
    guest = redefining.rebuild(parts, uuid, _present(parts, uuid, op))
    parts.ports.check_interfaces(guest)
    power.on_again(parts, uuid, op.undo, running=running)
    power.power_off(parts, uuid)
    power.power_on_with(parts, guest, network)


def _present(parts: Parts, uuid: str, op: Operation) -> Present | None:
    """Return what a guest's domain has; power off a guest whose emulator does not answer.

    libvirt 11 does not return the XML of a domain while a request waits for the domain's emulator.

    :param op: the operation, whose failure powers such a guest on.
    """
    results: list[Present | None] = []
    seconds = domains.ANSWER_SECONDS / 2  # for each of two questions
    deadline = time.monotonic() + seconds
    answered = concurrency.within(deadline, lambda: results.append(parts.present(uuid)))
    if answered:
        return results[0]
    if parts.state(uuid) in ACTIVE:
        try:
            parts.ask_emulator(uuid, domains.ask_emulator, seconds)
        except exceptions.OperationTimeout as error:
            LOG.warning("Guest %s is powered off first: %s", uuid, error)
            power.on_again(parts, uuid, op.undo, running=True)
            power.power_off(parts, uuid)
    return parts.present(uuid)


def _soft(parts: Parts, uuid: str, timeout: float) -> bool:
    """Ask the guest to reboot, and tell whether it does so.

    After the power button libvirt resets the guest when it powers off, and keeps its process.  A
    guest that powers off for a reason of its own is started again by the hard reboot.
    """
    deadline = time.monotonic() + timeout
    with parts.connection.watch(uuid) as watch:
        while time.monotonic() < deadline:
            with contextlib.suppress(exceptions.GuestBusy):
                # An emulator that hangs would hold the call for good.
                concurrency.within(deadline, parts.on_domain, uuid, _ask_to_reboot)
            event = watch.wait(
                {events.REBOOT, events.STOPPED}, min(deadline, time.monotonic() + power.ASK_AGAIN)
            )
            if event is not None and event.kind == events.REBOOT:
                return True
            if parts.state(uuid) is not PowerState.RUNNING:
                return False
    return False


def _ask_to_reboot(domain: libvirt.virDomain) -> None:
    flags = domains.agent_or_button(domain, libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
    domains.unless_stopped(lambda: domain.reboot(flags))
