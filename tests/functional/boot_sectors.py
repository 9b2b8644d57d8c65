# SPDX-License-Identifier: Apache-2.0
"""Guests of one boot sector, which start at once and do one thing for ever."""

from __future__ import annotations

import struct

from compute_driver.guest import MIB

_SECTOR = 512
_PACKET = 0x100

#: Writes a dot to the first serial port at each tick of the timer: sti; mov dx, 0x3f8;
#: loop: mov al, "."; out dx, al; hlt; jmp loop.
_DOTS = "fb baf803 b02e ee f4 ebfa"

#: Sets the stack up; then at each tick writes 64 KiB to the first disk, further on each time:
#: loop: hlt; mov si, packet; mov ax, 0x4300; mov dl, 0x80; int 0x13; add dword [packet + 8], 128;
#: jmp loop.
_BLOCKS = "fa 31c0 8ed8 8ec0 8ed0 bc007c fb f4 be007d b80043 b280 cd13 66 8106 087d 80000000 ebea"


def dots() -> bytes:
    """Return the image of a guest that writes dots to its serial console."""
    return _image(bytes.fromhex(_DOTS))


def blocks() -> bytes:
    """Return the image of a guest that fills its disk, by about 1 MiB each second."""
    # The disk address packet of the BIOS: its size, the number of sectors, the buffer, the sector.
    packet = struct.pack("<BBHHHQ", 16, 0, 127, 0, 0xF000, MIB // _SECTOR)
    return _image(bytes.fromhex(_BLOCKS).ljust(_PACKET, b"\0") + packet)


def _image(code: bytes) -> bytes:
    return (code.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa").ljust(MIB, b"\0")
