# SPDX-License-Identifier: Apache-2.0
"""Freeze a guest's file systems, and thaw them in any case.

A file in the guest's directory marks a guest that may be frozen, and names the process that froze
it.  The file is made before the agent is asked, and removed when the guest writes again.  So the
next operation on the guest thaws it after a failure or a sudden death.  Once the process is gone,
the next driver does so, too.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, PowerState, Quiesce
from compute_driver.contract.states import Request
from compute_driver.libvirt import agent
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base.context import Parts
from compute_driver.system import processes, steps
from compute_driver.system.filesystem import host_errors

LOG = logging.getLogger(__name__)

_MARK = "frozen"


def freeze(parts: Parts, uuid: str) -> None:
    """Freeze the file systems of a running guest.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.quiesce`.
    """
    parts.require_agent(uuid, Request.QUIESCE)
    if not _answers(parts, uuid):
        raise exceptions.AgentUnavailable(f"no guest agent answers in guest {parts.name(uuid)!r}")
    _freeze(parts, uuid)


def _freeze(parts: Parts, uuid: str) -> None:
    mark = _mark(parts, uuid)
    with host_errors(f"{mark} cannot be made"):
        mark.touch(0o600)
        mark.write_text(_identity(os.getpid()))
    try:
        parts.on_domain(uuid, functools.partial(agent.freeze, timeout=parts.agent_timeout))
        steps.announce("file systems frozen")
    except BaseException:
        mend(parts, uuid)
        raise


def thaw(parts: Parts, uuid: str, timeout: int) -> None:
    """Thaw the file systems of a guest.

    :param timeout: seconds that the guest's agent may take.
    :raises AgentUnavailable: if the agent does not answer.
    """
    state = parts.state(uuid)
    if state in ACTIVE:
        parts.on_domain(uuid, functools.partial(_thaw_if_active, timeout=timeout))
    if state is not PowerState.SUSPENDED:  # a suspended guest stays frozen
        _mark(parts, uuid).unlink(missing_ok=True)


@contextlib.contextmanager
def quiesced(parts: Parts, uuid: str, wish: Quiesce) -> Iterator[None]:
    """Keep a running guest's file systems frozen meanwhile, if *wish* asks for it.

    :raises: what :func:`freeze` raises, if *wish* requires the freezing; what :func:`thaw` raises.
    """
    frozen = False
    if wish is Quiesce.REQUIRE or (wish is Quiesce.TRY and _answers(parts, uuid)):
        try:
            (freeze if wish is Quiesce.REQUIRE else _freeze)(parts, uuid)
            frozen = True
        except exceptions.GuestError as error:
            if wish is Quiesce.REQUIRE:
                raise
            name = parts.name(uuid)
            LOG.warning("Guest %r is copied without being quiesced: %s", name, error)
    try:
        yield
    finally:
        if frozen:
            thaw(parts, uuid, parts.agent_timeout)


def mend(parts: Parts, uuid: str, *, left_only: bool = False) -> None:
    """Thaw a guest that is marked as frozen; a guest that does not answer is thawed later.

    :param left_only: whether the guest stays frozen as long as the process that froze it lives.
    """
    mark = _mark(parts, uuid)
    if mark.exists() and not (left_only and _has_owner(mark)):
        try:
            thaw(parts, uuid, domains.AGENT_SECONDS)
        except exceptions.GuestError as error:
            LOG.warning("Guest %r may still be frozen: %s", parts.name(uuid), error)


def marked(parts: Parts) -> list[str]:
    """Return the UUIDs of guests that may be frozen."""
    return [mark.parent.name for mark in parts.ownership.instances.glob(f"*/{_MARK}")]


def _mark(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / _MARK


def _identity(pid: int) -> str:
    """Return a process's number and start time: numbers are used again."""
    return f"{pid} {processes.stat_fields(pid)[processes.START]}"


def _has_owner(mark: Path) -> bool:
    """Tell whether the process that made a mark still lives."""
    try:
        identity = mark.read_text()
        return identity == _identity(int(identity.partition(" ")[0]))
    except (OSError, ValueError):
        return False


def _answers(parts: Parts, uuid: str) -> bool:
    running = parts.state(uuid) is PowerState.RUNNING
    return running and parts.on_domain(uuid, domains.agent_answers)


def _thaw_if_active(domain: libvirt.virDomain, timeout: int) -> None:
    domains.unless_stopped(lambda: agent.thaw(domain, timeout))
