# SPDX-License-Identifier: Apache-2.0
"""The interactive session on a serial console that QEMU serves by TCP."""

from __future__ import annotations

import contextlib
import math
import weakref
from pathlib import Path

from compute_driver import consoles, driver, exceptions
from compute_driver.info import Address
from compute_driver.system import concurrency

_CHUNK_BYTES = 65536

#: Seconds to connect to QEMU, which runs on this host.
_CONNECT_SECONDS = 10.0

#: The kernel's tables of connections; state 01 is an established connection.
#: Source: Linux, Documentation/networking/proc_net_tcp.rst.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


class SocketSession(driver.ConsoleSession):
    """An interactive console over TCP.

    QEMU serves one client and leaves the others waiting in silence.  The kernel counts all of
    them as connected, so the session counts the connections to find another client.

    :param address: where QEMU listens.
    :param guest: name of the guest.
    :raises GuestBusy: if another client is connected.
    :raises GuestError: if no program listens at the address.
    """

    def __init__(self, address: Address, guest: str) -> None:
        socket = concurrency.native("socket")
        try:
            self._socket = concurrency.run_blocking(
                socket.create_connection, (address.host, address.port), _CONNECT_SECONDS
            )
        except OSError as error:
            raise exceptions.GuestError(
                f"the console of guest {guest!r} cannot be reached at {address.host}, port"
                f" {address.port}: {error}"
            ) from error
        self._socket.settimeout(None)
        weakref.finalize(self, self._socket.close)  # a receiver may still wait at close
        if _count_clients(address.port) > 1:
            self.close()
            raise consoles.in_use(guest)

    def receive(self) -> bytes:
        concurrency.wait_readable([self._socket.fileno()], math.inf)
        try:
            return bytes(concurrency.run_blocking(self._socket.recv, _CHUNK_BYTES))
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        try:
            concurrency.run_blocking(self._socket.sendall, data)
        except OSError as error:
            raise exceptions.GuestError(f"the console has ended: {error}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the guest has closed it already
            self._socket.shutdown(concurrency.native("socket").SHUT_RDWR)


def _count_clients(port: int) -> int:
    """Return how many clients are connected to a TCP port of this host."""
    tables = [table.read_text().splitlines()[1:] for table in _TABLES if table.exists()]
    return sum(
        int(local.rpartition(":")[2], 16) == port and state == _ESTABLISHED
        for lines in tables
        for _number, local, _remote, state, *_rest in map(str.split, lines)
    )
