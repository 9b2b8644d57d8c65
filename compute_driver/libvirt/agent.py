# SPDX-License-Identifier: Apache-2.0
"""Requests to a guest's agent: passwords, file systems, SSH keys and addresses.

These functions run behind the gateway, on a native thread.  The agent is a program in the guest: it
may be absent, hang or refuse by configuration, so each call has a deadline.

Source: QEMU, "QEMU Guest Agent Protocol Reference".
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from compute_driver import exceptions

R = TypeVar("R")

#: The public keys of OpenSSH's server in a guest; see sshd(8).
_HOST_KEYS = tuple(f"/etc/ssh/ssh_host_{kind}_key.pub" for kind in ("ed25519", "ecdsa", "rsa"))
#: Largest size of a public key in bytes.
_MAX_KEY = 4096

#: The agent's words for a missing file, from the C library.
_NO_FILE = "No such file or directory"

_ADDRESS_SOURCES = (
    libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
    libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
)

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


def ssh_host_keys(domain: libvirt.virDomain, timeout: int) -> tuple[str, ...]:
    """Return the contents of the files with the public keys of the guest's SSH server.

    The parameters and errors are those of :func:`freeze`.
    """
    contents = (_read_file(domain, timeout, path) for path in _HOST_KEYS)
    return tuple(content.decode("ascii", "replace") for content in contents if content)


def addresses(domain: libvirt.virDomain, timeout: int) -> tuple[str, ...]:
    """Return the IP addresses of a guest by its agent, else by the host's DHCP server.

    :param timeout: seconds that the agent may take.
    """
    for source in _ADDRESS_SOURCES:
        try:
            domain.agentSetResponseTimeout(timeout)
            interfaces = domain.interfaceAddresses(source)
        except libvirt.libvirtError:  # no agent answers, or libvirt has no DHCP server
            continue
        told = (each["addr"] for nic in interfaces.values() for each in nic["addrs"] or ())
        usable = tuple(filter(_is_usable, told))
        if usable:
            return usable
    return ()


def _is_usable(text: str) -> bool:
    """Tell whether other hosts may reach an address, which the guest can write as it likes."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text and not address.is_loopback and not address.is_link_local


def _read_file(domain: libvirt.virDomain, timeout: int, path: str) -> bytes:
    """Return the first bytes of a file in the guest; nothing if the guest has no such file."""

    def read() -> bytes:
        try:
            handle = _command(domain, timeout, "guest-file-open", path=path)
        except libvirt.libvirtError as error:
            if _NO_FILE in str(error):
                return b""
            raise
        try:
            answer = _command(domain, timeout, "guest-file-read", handle=handle, count=_MAX_KEY)
        finally:
            _command(domain, timeout, "guest-file-close", handle=handle)
        try:
            return base64.b64decode(answer["buf-b64"])
        except (LookupError, TypeError, ValueError) as error:  # the guest answers as it likes
            name = domain.name()
            raise exceptions.AgentFailed(f"the agent of guest {name!r} answers nonsense") from error

    return _ask(domain, timeout, f"read {path}", exceptions.AgentFailed, read)


def _command(domain: libvirt.virDomain, timeout: int, name: str, **arguments: object) -> Any:
    request = json.dumps({"execute": name, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, timeout, 0))["return"]


def _ask(
    domain: libvirt.virDomain,
    timeout: int,
    action: str,
    unsupported: type[exceptions.AgentFailed],
    call: Callable[[], R],
) -> R:
    try:
        domain.agentSetResponseTimeout(timeout)
        return call()
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
