# SPDX-License-Identifier: Apache-2.0
"""The interactive session on a serial console, by libvirt or by TCP."""

from __future__ import annotations

import contextlib
import math
import os
import weakref

import libvirt
from lxml import etree

from compute_driver import consoles, driver, exceptions
from compute_driver.info import Address
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.consoles.socket import SocketSession
from compute_driver.system import concurrency
from compute_driver.xml import console

_CHUNK_BYTES = 65536

#: The result of ``virStreamRecv`` while the stream is empty.
_WOULD_BLOCK = -2
_READABLE_OR_ENDED = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_ERROR
    | libvirt.VIR_STREAM_EVENT_HANGUP
)


def find_address(domain: libvirt.virDomain) -> Address:
    """Return the TCP address where QEMU serves the serial console of a running domain.

    :raises ConsoleUnavailable: if QEMU does not serve it by TCP.
    """
    address = console.address(etree.fromstring(domain.XMLDesc()))
    if address is None or not address.port:
        raise consoles.no_address(str(domain.name()))
    return address


def attach(gateway: Connection, uuid: str) -> driver.ConsoleSession:
    """Open the interactive serial console of a running guest.

    :raises GuestBusy: if another session is open on this console.
    """

    def look_up(shared: libvirt.virConnect) -> tuple[str, Address | None]:
        domain = shared.lookupByUUIDString(uuid)
        return domain.name(), console.address(etree.fromstring(domain.XMLDesc()))

    name, address = gateway.run(look_up)
    if address is not None:
        return SocketSession(address, name)
    return gateway.run(lambda _shared: StreamSession(gateway.open(), uuid))


class StreamSession(driver.ConsoleSession):
    """An interactive console over a libvirt stream.

    The stream does not block.  If data arrives just before a thread begins to wait in
    ``virStreamRecv``, libvirt 9.0's client does not see this data until more data arrives.

    :param connection: a connection for this session alone; the session closes it.
    :param uuid: the guest.
    :raises GuestBusy: if another session is open on this console.
    """

    def __init__(self, connection: libvirt.virConnect, uuid: str) -> None:
        self._connection = connection
        self._stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        try:
            domain = connection.lookupByUUIDString(uuid)
            domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
        except libvirt.libvirtError as error:
            connection.close()
            if "Active console session" in str(error):
                raise consoles.in_use(domain.name()) from error
            raise
        #: Becomes readable when the stream is readable or has ended.
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for descriptor in (self._woken, self._waker):
            weakref.finalize(self, os.close, descriptor)  # a receiver may still wait at close
        self._stream.eventAddCallback(0, _wake, self._waker)

    def receive(self) -> bytes:
        try:
            while (
                data := concurrency.run_blocking(self._stream.recv, _CHUNK_BYTES)
            ) == _WOULD_BLOCK:
                self._stream.eventUpdateCallback(_READABLE_OR_ENDED)
                concurrency.wait_readable([self._woken], math.inf)
                os.read(self._woken, 4096)
        except libvirt.libvirtError:
            return b""
        return bytes(data)

    def send(self, data: bytes) -> None:
        while data:
            try:
                sent = concurrency.run_blocking(self._stream.send, data)
            except libvirt.libvirtError as error:
                raise exceptions.GuestError(f"the console has ended: {error}") from error
            data = data[sent:]

    def close(self) -> None:
        concurrency.run_blocking(self._close)

    def _close(self) -> None:
        for end in (self._stream.eventRemoveCallback, self._stream.abort, self._connection.close):
            with contextlib.suppress(libvirt.libvirtError):  # the stream has ended already
                end()
        os.write(self._waker, b"\0")


def _wake(stream: libvirt.virStream, events: int, waker: int) -> None:
    stream.eventUpdateCallback(0)  # otherwise libvirt calls again at once
    os.write(waker, b"\0")
