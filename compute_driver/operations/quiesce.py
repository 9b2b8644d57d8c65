# SPDX-License-Identifier: Apache-2.0
"""Freeze a guest's file systems, and see to it that they thaw.

A file in the guest's directory marks what may be frozen.  It is there before the agent is asked,
and goes when the guest is known to write again: so whoever finds it after a failure or a sudden
death thaws the guest, be it the next operation on it or the next driver.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.filesystem import host_errors
from compute_driver.guest import PowerState, Quiesce
from compute_driver.libvirt import agent
from compute_driver.libvirt import domain as domains
from compute_driver.operations.parts import Parts

LOG = logging.getLogger(__name__)

_MARK = "frozen"


def quiesce(parts: Parts, uuid: str) -> None:
    """Freeze the file systems of a running guest.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.quiesce`.
    """
    parts.require(uuid, "quiesce", {PowerState.RUNNING})
    _check_channel(parts, uuid)
    mark = _mark(parts, uuid)
    with host_errors(f"{mark} cannot be made"):
        mark.touch(0o600)
    try:
        parts.on_domain(uuid, functools.partial(agent.freeze, timeout=_timeout(parts)))
    except BaseException:
        mend(parts, uuid)
        raise


def unquiesce(parts: Parts, uuid: str) -> None:
    """Thaw the file systems of a guest.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.unquiesce`.
    """
    parts.require(uuid, "unquiesce", {PowerState.RUNNING})
    _check_channel(parts, uuid)
    _thaw(parts, uuid, _timeout(parts))


@contextlib.contextmanager
def quiesced(parts: Parts, uuid: str, wish: Quiesce) -> Iterator[None]:
    """Keep a running guest's file systems frozen meanwhile, as far as that is wished and possible.

    :raises: what :func:`quiesce` raises, if it is required; what :func:`unquiesce` raises.
    """
    frozen = False
    if wish is Quiesce.REQUIRE or (wish is Quiesce.TRY and _answers(parts, uuid)):
        try:
            quiesce(parts, uuid)
            frozen = True
        except exceptions.GuestError as error:
            if wish is Quiesce.REQUIRE:
                raise
            LOG.warning("Guest %s is copied without being quiesced: %s", uuid, error)
    try:
        yield
    finally:
        if frozen:
            _thaw(parts, uuid, _timeout(parts))


def mend(parts: Parts, uuid: str) -> None:
    """Thaw a guest that somebody has left frozen; one that does not answer is tried again later."""
    if _mark(parts, uuid).exists():
        try:
            _thaw(parts, uuid, domains.AGENT_SECONDS)
        except exceptions.GuestError as error:
            LOG.warning("Guest %s may still be frozen: %s", uuid, error)


def left(parts: Parts) -> list[str]:
    """Return the UUIDs of guests that may be frozen."""
    return [mark.parent.name for mark in parts.host.instances.glob(f"*/{_MARK}")]


def _mark(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / _MARK


def _timeout(parts: Parts) -> int:
    return int(parts.conf.hypervisor.guest_agent_timeout)


def _check_channel(parts: Parts, uuid: str) -> None:
    guest = parts.stored(uuid).guest
    if not guest.guest_agent:
        raise exceptions.AgentUnavailable(f"guest {guest.name!r} has no channel for an agent")


def _answers(parts: Parts, uuid: str) -> bool:
    running = parts.state(uuid) is PowerState.RUNNING
    return running and parts.on_domain(uuid, domains.agent_answers)


def _thaw(parts: Parts, uuid: str, timeout: int) -> None:
    state = parts.state(uuid)
    if state in (PowerState.RUNNING, PowerState.PAUSED):
        parts.on_domain(uuid, functools.partial(_thaw_if_active, timeout=timeout))
    if state is not PowerState.SUSPENDED:  # it will be as it was when its memory was saved
        _mark(parts, uuid).unlink(missing_ok=True)


def _thaw_if_active(domain: libvirt.virDomain, timeout: int) -> None:
    domains.unless_stopped(lambda: agent.thaw(domain, timeout))
