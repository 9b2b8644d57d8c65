# SPDX-License-Identifier: Apache-2.0
"""What a guest's agent is asked to do: an account's password, file systems frozen and thawed.

These functions run behind the gateway, on a native thread.  The agent is a program of the guest's,
which may be absent, hang, or be told by its administrator to refuse: each call has a deadline.

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
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,  # the guest has no channel for it
    }
)

#: What an agent says that does not know a command, or was told not to obey it.
_LACKING = ("has not been found", "has been disabled", "is not supported", "unsupported")


def set_password(domain: libvirt.virDomain, timeout: int, user: str, password: str) -> None:
    """Give an account of the guest's a password.

    :param timeout: seconds.
    :raises AgentUnavailable: if no agent answers.
    :raises PasswordUnsupported: if it cannot do that.
    :raises AgentFailed: if it fails.
    """
    _ask(
        domain,
        timeout,
        f"set the password of {user}",
        exceptions.PasswordUnsupported,
        lambda: domain.setUserPassword(user, password),
    )


def freeze(domain: libvirt.virDomain, timeout: int) -> None:
    """Have all that was written reach the disks, and let nothing more be written.

    :param timeout: seconds.
    :raises AgentUnavailable: if no agent answers; its file systems may freeze yet.
    :raises QuiesceUnsupported: if it cannot do that.
    :raises AgentFailed: if it fails.
    """
    _ask(domain, timeout, "freeze", exceptions.QuiesceUnsupported, domain.fsFreeze)


def thaw(domain: libvirt.virDomain, timeout: int) -> None:
    """Let the guest write again; nothing if it may.

    Raises what :func:`freeze` raises.
    """
    _ask(domain, timeout, "thaw", exceptions.QuiesceUnsupported, domain.fsThaw)


def _ask(
    domain: libvirt.virDomain,
    timeout: int,
    what: str,
    unsupported: type[exceptions.AgentFailed],
    call: Callable[[], object],
) -> None:
    try:
        domain.agentSetResponseTimeout(timeout)
        call()
    except libvirt.libvirtError as error:
        if not domain.isActive():
            raise
        said = " ".join(str(error).split())
        if error.get_error_code() in _ABSENT:
            text = f"no guest agent answers in guest {domain.name()!r}: {said}"
            raise exceptions.AgentUnavailable(text) from error
        lacking = any(words in said for words in _LACKING)
        kind = unsupported if lacking else exceptions.AgentFailed
        raise kind(f"the agent of guest {domain.name()!r} cannot {what}: {said}") from error
