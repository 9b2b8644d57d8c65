# SPDX-License-Identifier: Apache-2.0
"""Writes unpacked bytes to a file, within limits and with holes in place of zeros."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from compute_driver.guest import GIB, MAX_DISK_BYTES, MIB
from compute_driver.images.inspect import Refusal
from compute_driver.system import space, tools
from compute_driver.system.concurrency import run_blocking

#: Bytes of one piece at most.
PIECE = MIB

#: A part of the unpacked file: its bytes, or the length of a hole.
Piece = bytes | int

#: Part of the file system, and bytes at most, that stay free: a guest whose disk cannot grow stops.
_RESERVE = (20, GIB)

_ZEROS = bytes(64 * 1024)


def pour(pieces: Iterator[Piece], target: Path, limits: tools.ToolLimits) -> Iterator[None]:
    """Write pieces to a new file; yield after each piece.

    :param pieces: the pieces; empty ones show progress with the input, and keep the limit.
    :param target: the file, in an existing directory.
    :param limits: the processor time for making and writing the pieces.
    :raises Refusal: if the pieces are larger than any disk.
    :raises NotEnoughSpace: if the file system is full but for a reserve.
    :raises LimitPassed: if the processor time is used up.
    """
    used, size = 0.0, 0
    with space.writing(target.parent), target.open("wb", buffering=0) as file:
        while True:
            seconds, piece = run_blocking(_next, pieces)
            used += seconds
            if used > limits.cpu_seconds:
                raise tools.LimitPassed(
                    f"unpacking used up its {limits.cpu_seconds} processor seconds; option "
                    "[hypervisor] image_tool_cpu_seconds grants more"
                )
            if piece is None:
                break
            length = piece if isinstance(piece, int) else len(piece)
            size += length
            if size > MAX_DISK_BYTES:
                raise Refusal(f"is larger than {MAX_DISK_BYTES} bytes when it is unpacked")
            if isinstance(piece, int):
                file.seek(length, os.SEEK_CUR)
            else:
                _require_space(target.parent, length)
                used += run_blocking(_write, file.fileno(), piece)
            yield
        os.ftruncate(file.fileno(), size)


def _next(pieces: Iterator[Piece]) -> tuple[float, Piece | None]:
    start = time.thread_time()
    piece = next(pieces, None)
    return time.thread_time() - start, piece


def _write(descriptor: int, piece: bytes) -> float:
    start = time.thread_time()
    for offset in range(0, len(piece), len(_ZEROS)):
        part = piece[offset : offset + len(_ZEROS)]
        if part == _ZEROS[: len(part)]:
            os.lseek(descriptor, len(part), os.SEEK_CUR)
            continue
        while part:
            part = part[os.write(descriptor, part) :]
    return time.thread_time() - start


def _require_space(directory: Path, length: int) -> None:
    total = shutil.disk_usage(directory).total
    part, most = _RESERVE
    space.require(directory, length + min(total // part, most))
