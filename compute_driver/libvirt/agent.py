# SPDX-License-Identifier: Apache-2.0
"""Requests to a guest's agent: set a password, freeze and thaw file systems.

These functions run behind the gateway, on a native thread.  The agent is a program in the guest: it
may be absent, hang or refuse by configuration, so each call has a deadline.

Source: QEMU, "QEMU Guest Agent Protocol Reference".
"""

from __future__ import annotations

from collections.abc import Callable

import libvirt

from compute_driver import exceptions

_ABSENT = frozenset(
    {
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_AGENT_UNSYNCED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,  # the guest has no channel for the agent
    }
)

#: Messages of an agent that does not know a command, or whose configuration disables it.
_LACKING = ("has not been found", "has been disabled", "is not supported", "unsupported")


def set_password(domain: libvirt.virDomain, timeout: int, user: str, password: str) -> None:
    """Set the password of an account in the guest.

    :param timeout: seconds that the agent may take.
    :param user: name of the account.
    :raises AgentUnavailable: if no agent answers.
    :raises PasswordUnsupported: if the agent cannot set passwords.
    :raises AgentFailed: if the agent fails.
    """
    _ask(
        domain,
        timeout,
        f"set the password of {user}",
        exceptions.PasswordUnsupported,
        lambda: domain.setUserPassword(user, password),
    )


def freeze(domain: libvirt.virDomain, timeout: int) -> None:
    """Freeze the guest's file systems: all written data reaches the disks, and new writes wait.

    :param timeout: seconds that the agent may take.
    :raises AgentUnavailable: if no agent answers; the file systems may still freeze later.
    :raises QuiesceUnsupported: if the agent cannot freeze file systems.
    :raises AgentFailed: if the agent fails.
    """
    _ask(domain, timeout, "freeze", exceptions.QuiesceUnsupported, domain.fsFreeze)


def thaw(domain: libvirt.virDomain, timeout: int) -> None:
    """Thaw the guest's file systems; file systems that are not frozen stay as they are.

    The parameters and errors are those of :func:`freeze`.
    """
    _ask(domain, timeout, "thaw", exceptions.QuiesceUnsupported, domain.fsThaw)


def _ask(
    domain: libvirt.virDomain,
    timeout: int,
    action: str,
    unsupported: type[exceptions.AgentFailed],
    call: Callable[[], object],
) -> None:
    try:
        domain.agentSetResponseTimeout(timeout)
        call()
    except libvirt.libvirtError as error:
        if not domain.isActive():
            raise
        reason = " ".join(str(error).split())
        if error.get_error_code() in _ABSENT:
            text = f"no guest agent answers in guest {domain.name()!r}: {reason}"
            raise exceptions.AgentUnavailable(text) from error
        lacking = any(message in reason for message in _LACKING)
        kind = unsupported if lacking else exceptions.AgentFailed
        raise kind(f"the agent of guest {domain.name()!r} cannot {action}: {reason}") from error
