# SPDX-License-Identifier: Apache-2.0
"""Access to the serial consoles and screens of guests."""

from __future__ import annotations

import abc

from compute_driver.consoles import DisplayKind
from compute_driver.info import Address, Display


class ConsoleSession(abc.ABC):
    """An open, interactive serial console."""

    @abc.abstractmethod
    def receive(self) -> bytes:
        """Wait for output of the guest and return it; empty after the console has ended."""

    @abc.abstractmethod
    def send(self, data: bytes) -> None:
        """Type *data* at the guest's console.

        :raises GuestError: if the console has ended.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End the session; the guest does not notice."""


class Consoles(abc.ABC):
    """Reads and connects the serial consoles and screens of guests."""

    @abc.abstractmethod
    def console_log(self, uuid: str, *, max_bytes: int | None = None) -> bytes:
        """Return the output of the guest's serial console, of all its boots.

        :param max_bytes: return at most this number of bytes, the latest ones.
        """

    @abc.abstractmethod
    def console_wait(self, uuid: str, text: str, *, timeout: float, skip_bytes: int = 0) -> None:
        """Return when the serial console has shown *text*.

        :param timeout: seconds.
        :param skip_bytes: ignore this number of bytes at the beginning of the log, for example the
            length of the log before a reboot.
        :raises OperationTimeout: if the console did not show the text in time.
        :raises InvalidGuestState: if the guest is not running at the end, and the console did not
            show the text.
        """

    @abc.abstractmethod
    def console_attach(self, uuid: str) -> ConsoleSession:
        """Open the interactive serial console of a running guest.

        :raises GuestBusy: if another session is open.
        """

    @abc.abstractmethod
    def console_address(self, uuid: str) -> Address:
        """Return the TCP address of a running guest's serial console.

        One client at a time is served; an open session of :meth:`console_attach` is a client, too.

        :raises InvalidGuestState: if the guest does not run.
        :raises ConsoleUnavailable: if the serial console is not served by TCP.
        """

    @abc.abstractmethod
    def screenshot(self, uuid: str) -> bytes:
        """Return the guest's first screen as a PNG image.

        :raises InvalidGuestState: if the guest does not run.
        :raises GuestError: if the guest has no display.
        """

    @abc.abstractmethod
    def display(self, uuid: str, *, kind: DisplayKind | None = None) -> Display:
        """Return the address of a running guest's screen.

        :param kind: the protocol, VNC or SPICE; by default the first that is served, VNC before
            SPICE.
        :raises InvalidGuestState: if the guest does not run.
        :raises ConsoleUnavailable: if the protocol does not serve the screen.
        """
