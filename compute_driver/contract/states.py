# SPDX-License-Identifier: Apache-2.0
"""The states of guests in which every driver refuses a request, and the texts of the refusals."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, ALIVE, OFF, PowerState
from compute_driver.guest import Guest

_RUNNING = frozenset({PowerState.RUNNING})
#: A suspended guest continues with its saved memory and its present devices.
_NOT_SUSPENDED = ACTIVE | OFF


class Request(enum.Enum):
    """A request to a guest: the words of its refusal, and the power states that accept it."""

    PAUSE = "pause", ACTIVE
    RESUME = "resume", ALIVE
    SUSPEND = "suspend", ALIVE
    REBOOT_SOFTLY = "soft-reboot", _RUNNING
    INTERRUPT = "interrupt", ACTIVE
    RESIZE = "resize", _NOT_SUSPENDED
    #: A rescue of a paused or suspended guest would lose the guest's memory.
    RESCUE = "rescue", _RUNNING | OFF
    UNRESCUE = "unrescue", frozenset(PowerState)
    QUIESCE = "quiesce", _RUNNING
    #: Nobody writes to the disks of a stopped guest.
    QUIESCE_FOR_SNAPSHOT = "quiesce", frozenset({PowerState.RUNNING, PowerState.STOPPED})
    UNQUIESCE = "unquiesce", _RUNNING
    SET_PASSWORD = "set a password of", _RUNNING
    READ_SSH_KEYS = "ask for the SSH keys of", _RUNNING
    READ_ADDRESSES = "ask for the addresses of", ACTIVE
    ATTACH_INTERFACE = "attach an interface to", _NOT_SUSPENDED
    DETACH_INTERFACE = "detach an interface from", _NOT_SUSPENDED
    REPLACE_INTERFACES = "replace the interfaces of", OFF
    PUBLISH = "publish a port of", _NOT_SUSPENDED
    UNPUBLISH = "close a port of", _NOT_SUSPENDED
    ATTACH_TO_CONSOLE = "attach to the console of", ACTIVE
    CONNECT_TO_CONSOLE = "connect to the console of", ACTIVE
    WAIT_FOR_CONSOLE = "wait for a text on the console of", _RUNNING
    SCREENSHOT = "take a screenshot of", ACTIVE
    SHOW_SCREEN = "show the screen of", ACTIVE

    def __init__(self, words: str, accepted: frozenset[PowerState]) -> None:
        self.words = words
        self.accepted = accepted

    def check(self, name: str, state: PowerState) -> None:
        """Refuse the request if the guest's power state does not accept it.

        :param name: the guest's name.
        :raises InvalidGuestState: names the states that accept the request.
        """
        if state not in self.accepted:
            raise self.refusal(name, state, self.accepted)

    def refusal(
        self, name: str, state: str, accepted: Iterable[str]
    ) -> exceptions.InvalidGuestState:
        """Return the error for a guest in a state that does not accept the request."""
        return exceptions.InvalidGuestState(name, self.words, state, accepted)


def check_own_system(guest: Guest, request: Request) -> None:
    """Refuse a request that a rescued guest does not accept.

    :raises InvalidGuestState: if the guest is in rescue.
    """
    if guest.rescue is not None:
        raise request.refusal(guest.name, "in rescue", ["in its own system"])


def check_in_rescue(guest: Guest) -> None:
    """Refuse to end a rescue that a guest is not in.

    :raises InvalidGuestState: if the guest is in its own system.
    """
    if guest.rescue is None:
        raise Request.UNRESCUE.refusal(guest.name, "in its own system", ["in rescue"])


def check_no_resize(guest: Guest, *, resized: bool) -> None:
    """Refuse a second resize before the first resize is confirmed or reverted.

    :param resized: whether a resize of the guest waits for this.
    :raises InvalidGuestState: if a resize waits.
    """
    if resized:
        raise Request.RESIZE.refusal(
            guest.name,
            "resized and not yet confirmed",
            ["a guest after 'confirm resize' or 'revert resize'"],
        )
