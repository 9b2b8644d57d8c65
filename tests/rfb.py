# SPDX-License-Identifier: Apache-2.0
"""A small VNC client.

Source: RFC 6143, The Remote Framebuffer Protocol.
"""

from __future__ import annotations

import socket
import struct

SHIFT = 0xFFE1
RETURN = 0xFF0D

_SECURITY_NONE = 1
_RAW = 0


class Client:
    """A connection to a server that asks for no password; as a context it closes itself.

    :param address: host and port.
    :ivar width: of the screen, in pixels.
    """

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self._socket = socket.create_connection(address, timeout)
        try:
            self._shake_hands()
        except BaseException:
            self.close()
            raise

    def _shake_hands(self) -> None:
        self.version = self._receive(12)
        self._socket.sendall(self.version)
        (count,) = self._receive(1)
        self.security = tuple(self._receive(count))
        if _SECURITY_NONE not in self.security:
            raise ConnectionError(f"the server wants one of {self.security}")
        self._socket.sendall(bytes([_SECURITY_NONE]))
        (refused,) = struct.unpack("!I", self._receive(4))
        if refused:
            raise ConnectionError("the server refused")
        self._socket.sendall(b"\1")  # a shared screen
        self.width, self.height, self._bits, name = struct.unpack("!HHB15xI", self._receive(24))
        self.name = self._receive(name).decode()
        self._socket.sendall(struct.pack("!BxHi", 2, 1, _RAW))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def picture(self) -> bytes:
        """Return the pixels of the whole screen, in the server's format."""
        self._socket.sendall(struct.pack("!BBHHHH", 3, 0, 0, 0, self.width, self.height))
        size = self._bits // 8
        row = self.width * size
        pixels = bytearray(row * self.height)
        missing = len(pixels)
        while missing > 0:
            for _rectangle in range(self._update()):
                left, top, width, height, _raw = struct.unpack("!HHHHi", self._receive(12))
                for line in range(top, top + height):
                    at = line * row + left * size
                    pixels[at : at + width * size] = self._receive(width * size)
                missing -= width * height * size
        return bytes(pixels)

    def _update(self) -> int:
        """Wait for an update, and return how many rectangles follow."""
        while (kind := self._receive(1)[0]) != 0:
            if kind == 3:  # text that the guest's user cut
                (length,) = struct.unpack("!3xI", self._receive(7))
                self._receive(length)
            elif kind != 2:  # a bell has no data
                raise ConnectionError(f"a message of unknown kind {kind}")
        (count,) = struct.unpack("!xH", self._receive(3))
        return int(count)

    def type(self, text: str) -> None:
        """Press and release the keys of a line, with a shift key where QEMU's keyboard has one."""
        for letter in text:
            shifted = letter.isupper() or letter in '~!@#$%^&*()_+{}|:"<>?'
            key = RETURN if letter == "\n" else ord(letter)
            for down, symbol in ((1, SHIFT), (1, key), (0, key), (0, SHIFT)):
                if symbol != SHIFT or shifted:
                    self._socket.sendall(struct.pack("!BBxxI", 4, down, symbol))

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the server has gone")
            data += more
        return data
