# SPDX-License-Identifier: Apache-2.0
"""The image cache, and images of qemu-img."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

from compute_driver.choices import DiskFormat
from compute_driver.guest import MIB
from compute_driver.images.cache import ImageCache
from compute_driver.images.entry import CachedImage
from tests.functional.programs import output
from tests.image_server import ImageServer, configured

SIZE = 4 * MIB
PATTERN = bytes(range(1, 129)) * 512  # 64 KiB without a zero byte, so no tool skips a part


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class ImagesCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.state = self.home / "state"
        self.store = self.state / "images"
        self.conf = configured(self.state)
        self.cache = ImageCache(self.conf)
        self.disk = self.home / "disk.raw"
        self.disk.write_bytes((PATTERN * 2).ljust(SIZE, b"\0"))
        output("qemu-img", "create", "-q", "-f", "vmdk", self.home / "base.vmdk", "4M")
        logging.disable(logging.WARNING)  # warnings of the parsers
        self.addCleanup(logging.disable, logging.NOTSET)

    def serve(self, content: bytes) -> ImageServer:
        server = ImageServer(content)
        self.addCleanup(server.close)
        return server

    def made(self, image_format: str, options: str = "") -> Path:
        """Return a new image of a format with the content of the disk."""
        path = self.home / f"image.{image_format}"
        argv = ["qemu-img", "convert", "-f", "raw", "-O", image_format]
        argv += ["-o", options] if options else []
        output(*argv, self.disk, path)
        return path

    def content(self, image: CachedImage) -> bytes:
        """Return the bytes of the disk that a guest sees."""
        driver = "qcow2" if image.format is DiskFormat.QCOW2 else "raw"
        copy = self.home / "content"
        output("qemu-img", "convert", "-f", driver, "-O", "raw", image.path, copy)
        return copy.read_bytes()

    def files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.store)) for path in self.store.rglob("*") if not path.is_dir()
        )

    @contextlib.contextmanager
    def refusing(self, error: type[Exception], reason: str) -> Iterator[None]:
        with self.assertRaisesRegex(error, reason):
            yield
        self.assertEqual([], self.files())
