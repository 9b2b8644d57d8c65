# SPDX-License-Identifier: Apache-2.0
"""The interactive session on a serial console that QEMU serves by TCP."""

from __future__ import annotations

import contextlib
import math
import weakref
from pathlib import Path

from compute_driver import driver, exceptions
from compute_driver.info import Address
from compute_driver.system import concurrency

_CHUNK = 65536

#: Seconds in which QEMU's socket, on this host, is reached.
_CONNECT_SECONDS = 10.0

#: The kernel's tables of connections; a state of 1 is an established one.
#: Source: Linux, Documentation/networking/proc_net_tcp.rst.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


class Session(driver.ConsoleSession):
    """An interactive console over TCP.

    QEMU lets further clients wait in silence until the first one leaves.  They are connected as
    far as the kernel is concerned, whose word is taken on how many there are.

    :param address: where QEMU listens.
    :param uuid: the guest.
    :raises GuestBusy: if somebody else has it open.
    :raises GuestError: if it cannot be reached.
    """

    def __init__(self, address: Address, uuid: str) -> None:
        where = (address.host, address.port)
        socket = concurrency.native("socket")
        try:
            self._socket = concurrency.run_blocking(
                socket.create_connection, where, _CONNECT_SECONDS
            )
        except OSError as error:
            raise exceptions.GuestError(
                f"the console of guest {uuid} cannot be reached at {address.host}, port"
                f" {address.port}: {error}"
            ) from error
        self._socket.settimeout(None)
        weakref.finalize(self, self._socket.close)  # a receiver may still wait at close
        if _clients(address.port) > 1:
            self.close()
            raise exceptions.GuestBusy(
                f"the console of guest {uuid} is open elsewhere; close it there first"
            )

    def receive(self) -> bytes:
        """Return what the guest wrote next; empty once the console has ended."""
        concurrency.wait_readable([self._socket.fileno()], math.inf)
        try:
            return bytes(concurrency.run_blocking(self._socket.recv, _CHUNK))
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        """Type *data* at the guest's console."""
        try:
            concurrency.run_blocking(self._socket.sendall, data)
        except OSError as error:
            raise exceptions.GuestError(f"the console has ended: {error}") from error

    def close(self) -> None:
        """End the session."""
        with contextlib.suppress(OSError):  # it had ended by itself
            self._socket.shutdown(concurrency.native("socket").SHUT_RDWR)


def _clients(port: int) -> int:
    """Return how many are connected to a port of this host."""
    lines = [line.split() for table in _TABLES if table.exists() for line in _rows(table)]
    return sum(
        int(local.rpartition(":")[2], 16) == port and state == _ESTABLISHED
        for _number, local, _remote, state, *_rest in lines
    )


def _rows(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:]
