# SPDX-License-Identifier: Apache-2.0
"""Packed images for tests of unpacking."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import tarfile
import tempfile
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path

from compute_driver import exceptions
from compute_driver.driver import no_progress
from compute_driver.guest import MIB
from compute_driver.images import compression
from compute_driver.images.unpack import unpack
from compute_driver.system import tools

DISK = random.Random(7).randbytes(300_000) + bytes(2 * MIB) + b"the end"


def zstd(content: bytes) -> bytes:
    return compression.zstd_module().compress(content)  # type: ignore[no-any-return]


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}

OVF = """<?xml version="1.0"?>
<!DOCTYPE Envelope [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <ovf:References>{files}</ovf:References>
  <ovf:DiskSection><ovf:Info>&secret;</ovf:Info>{disks}</ovf:DiskSection>
</ovf:Envelope>"""


def ovf(*disks: str, more: str = "", disk: str = "") -> bytes:
    """Return a description of disks.

    :param more: attributes of the files.
    :param disk: attributes of the disks.
    """
    files = "".join(
        f'<ovf:File ovf:id="file{number}" ovf:href="{name}" {more}/>'
        for number, name in enumerate(disks)
    )
    drives = "".join(
        f'<ovf:Disk ovf:diskId="disk{number}" ovf:fileRef="file{number}" {disk}/>'
        for number in range(len(disks))
    )
    return OVF.format(files=files, disks=drives).encode()


def tar(*members: tuple[str, bytes], layout: int = tarfile.USTAR_FORMAT) -> bytes:
    return tar_of(*((tarfile.TarInfo(name), content) for name, content in members), layout=layout)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], layout: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as made:
        for entry, content in members:
            entry.size = entry.size or len(content)
            made.addfile(entry, io.BytesIO(content.ljust(entry.size, b"\0")))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


class UnpackCase(unittest.TestCase):
    limits = tools.ToolLimits(cpu_seconds=60, memory_bytes=256 * MIB)

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.path = self.home / "image.part"

    def unpacked(self, content: bytes, name: str = "/images/disk") -> tuple[bytes, str | None]:
        self.path.write_bytes(content)
        path, inner = unpack(self.path, name, no_progress, self.limits)
        self.assertEqual([path.name], os.listdir(self.home))
        found = path.read_bytes()
        path.unlink()
        return found, inner

    @contextlib.contextmanager
    def refusing(
        self, reason: str, kind: type[Exception] = exceptions.ImageUnacceptable
    ) -> Iterator[None]:
        with self.assertRaisesRegex(kind, reason):
            yield

    def refuse(self, content: bytes, reason: str) -> None:
        with self.refusing(reason):
            self.unpacked(content)
        for path in self.home.iterdir():  # the cache removes them
            path.unlink()
