# SPDX-License-Identifier: Apache-2.0
"""Files compressed by gzip, bzip2, xz or zstd.

The decoders are those of Python's standard library; ``backports.zstd`` is the module of Python 3.14
for older versions.
"""

from __future__ import annotations

import bz2
import dataclasses
import importlib
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, Protocol

from compute_driver import exceptions
from compute_driver.images.inspect import Refusal
from compute_driver.images.pieces import PIECE
from compute_driver.system import tools

#: Bytes of a file that the recognition needs.
MAGIC_BYTES = 8

_READ = 256 * 1024

#: Exponents of the windows of zstd; zstd.h.
_ZSTD_WINDOWS = range(10, 32)


class Decoder(Protocol):
    """A decoder of one stream, with the interface of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether the decoder makes no bytes without further input."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return at most *max_length* bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compression:
    """A form of compression.

    :param name: its usual name.
    :param magic: matches the first :data:`MAGIC_BYTES` of a stream.
    :param suffixes: suffixes of compressed files, and the suffixes of their contents.
    :param decoder: makes a decoder whose memory is limited to a number of bytes.
    """

    name: str
    magic: re.Pattern[bytes]
    suffixes: dict[str, str]
    decoder: Callable[[int], Decoder]


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _zstd(memory: int) -> Decoder:
    zstd = zstd_module()
    # A decoder needs its window, and some more.
    largest = min(max(memory.bit_length() - 2, _ZSTD_WINDOWS[0]), _ZSTD_WINDOWS[-1])
    options = {zstd.DecompressionParameter.window_log_max: largest}
    return zstd.ZstdDecompressor(options=options)  # type: ignore[no-any-return]


def zstd_module() -> Any:
    """Return the module of the standard library, or of its backport.

    :raises MissingDependency: if the backport is not installed.
    """
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return importlib.import_module(name)
    except ImportError:
        raise exceptions.MissingDependency(f"Python module {name} is not installed") from None


#: RFC 1952; the format of bzip2 has no document; xz-file-format.txt; RFC 8878, sections 3.1.1 and
#: 3.1.2 (a file of pzstd begins with a skippable frame).
COMPRESSIONS = (
    Compression(
        name="gzip",
        magic=re.compile(rb"\x1f\x8b\x08"),
        suffixes={".gz": "", ".tgz": ".tar"},
        decoder=lambda memory: _Gzip(),
    ),
    Compression(
        name="bzip2",
        magic=re.compile(rb"BZh[1-9]"),
        suffixes={".bz2": "", ".tbz2": ".tar", ".tbz": ".tar"},
        decoder=lambda memory: bz2.BZ2Decompressor(),
    ),
    Compression(
        name="xz",
        magic=re.compile(rb"\xfd7zXZ\x00"),
        suffixes={".xz": "", ".txz": ".tar"},
        decoder=lambda memory: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory),
    ),
    Compression(
        name="zstd",
        magic=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        suffixes={".zst": "", ".zstd": "", ".tzst": ".tar"},
        decoder=_zstd,
    ),
)

#: Messages of decoders that need more memory than their limit.
_OUT_OF_MEMORY = ("Memory usage limit", "too much memory")


def recognise(head: bytes) -> Compression | None:
    """Return the compression of a file by its first bytes; None if the file is not compressed."""
    return next((kind for kind in COMPRESSIONS if kind.magic.match(head)), None)


def decompress(file: IO[bytes], kind: Compression, limits: tools.ToolLimits) -> Iterator[bytes]:
    """Yield the content of a compressed file, of one or several streams, in pieces.

    An empty piece comes before each further read of the file, also if the bytes stand for nothing.

    :param file: the file, at its beginning.
    :param limits: the memory of the decoder.
    :raises Refusal: if the file is damaged, cut off, or goes on after its last stream.
    :raises LimitPassed: if the decoder needs more memory.
    """
    data = file.read(_READ)
    while data:
        decoder = kind.decoder(limits.memory_bytes)
        while not decoder.eof:
            if decoder.needs_input and not data:
                yield b""
                data = file.read(_READ)
                if not data:
                    raise Refusal(f"is damaged: its {kind.name} compression has no end")
            try:
                piece = decoder.decompress(data, PIECE)
            except MemoryError as error:
                raise _too_large(kind, limits) from error
            except Exception as error:  # each decoder has its own class of errors
                if any(phrase in str(error) for phrase in _OUT_OF_MEMORY):
                    raise _too_large(kind, limits) from error
                reason = f"its {kind.name} compression is wrong ({error})"
                raise Refusal(f"is damaged: {reason}") from error
            data = b""
            if piece:
                yield piece
        data = yield from _after(file, decoder.unused_data)
        if data and not kind.magic.match(data):
            raise Refusal(f"is damaged: other bytes follow the end of its {kind.name} compression")


def _after(file: IO[bytes], data: bytes) -> Generator[bytes, None, bytes]:
    """Return the bytes after a stream, without the zeros that fill up blocks of tapes.

    An empty piece comes before each read of the file, as in :func:`decompress`.
    """
    while True:
        data = data.lstrip(b"\0")
        if len(data) >= MAGIC_BYTES:
            return data
        yield b""
        more = file.read(_READ)
        data += more
        if not more:
            return data


def _too_large(kind: Compression, limits: tools.ToolLimits) -> tools.LimitPassed:
    return tools.LimitPassed(
        f"the decoder of {kind.name} needs more than {limits.memory_bytes} bytes of memory; option "
        "[hypervisor] image_tool_memory_mib grants more"
    )
