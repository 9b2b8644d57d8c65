# SPDX-License-Identifier: Apache-2.0
"""Requests to the agent inside a guest."""

from __future__ import annotations

import abc

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.guest.bounds import require_text


def check_account(user: str, password: str) -> None:
    """Refuse texts that no request to an agent can carry.

    :raises InvalidParameter: names the parameter, and never shows the password.
    """
    require_text("user", user, "a name")
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        accepted = "Unicode text without NUL characters"
        raise exceptions.InvalidParameter("password", "***", accepted)


def check_channel(guest: Guest) -> None:
    """Refuse a request to the agent of a guest that has no channel for an agent.

    :raises AgentUnavailable: if the guest has no channel.
    """
    if not guest.guest_agent:
        raise exceptions.AgentUnavailable(f"guest {guest.name!r} has no channel for an agent")


class Agent(abc.ABC):
    """Asks the agent inside a guest to freeze file systems, to set passwords and to read files."""

    @abc.abstractmethod
    def quiesce(self, uuid: str) -> None:
        """Freeze the file systems of a running guest, after the guest wrote all data to its disks.

        The file systems thaw by :meth:`unquiesce`, by the next operation on the guest, or, after
        this process has ended, at the next start of a driver.

        :raises InvalidGuestState: if the guest does not run.
        :raises AgentUnavailable: if no agent answers.
        :raises QuiesceUnsupported: if the agent does not know the command.
        :raises AgentFailed: if the agent fails; no file system stays frozen.
        """

    @abc.abstractmethod
    def unquiesce(self, uuid: str) -> None:
        """Thaw the file systems of a guest; nothing if no file system is frozen.

        Raises the same errors as :meth:`quiesce`.
        """

    @abc.abstractmethod
    def set_password(self, uuid: str, password: str, *, user: str = "root") -> None:
        """Set the password of an account inside a running guest.

        :param user: the account's name.
        :raises InvalidParameter: if a request cannot carry a text; never shows the password.
        :raises InvalidGuestState: if the guest does not run.
        :raises AgentUnavailable: if no agent answers.
        :raises PasswordUnsupported: if the agent does not know the command.
        :raises AgentFailed: if the agent fails, for example because there is no such account.
        """

    @abc.abstractmethod
    def ssh_host_keys(self, uuid: str) -> tuple[str, ...]:
        """Return the public keys of the SSH server in a running guest.

        The guest tells the keys by its agent, or by the lines of cloud-init on its serial console.
        The driver remembers the keys, as cloud-init writes them at the first boot only.

        :return: lines such as ``ssh-ed25519 AAAA...``; empty if the guest has not told any key.
        :raises InvalidGuestState: if the guest does not run.
        """
