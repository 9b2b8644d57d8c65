# SPDX-License-Identifier: Apache-2.0
"""Images inside compressions and archives, and packed files that mean harm."""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
from unittest import mock

from compute_driver import exceptions
from compute_driver.driver import no_progress
from compute_driver.guest import MIB
from compute_driver.images import compression, pieces
from compute_driver.images.unpack import unpack
from compute_driver.system import tools
from tests.unit.images.packed import COMPRESSORS, DISK, UnpackCase, zstd


class CompressionTest(UnpackCase):
    def test_the_bytes_tell_the_compression_and_not_the_name(self) -> None:
        for suffix, compress in COMPRESSORS.items():
            with self.subTest(suffix):
                packed = compress(DISK)
                self.assertEqual((DISK, "disk.raw"), self.unpacked(packed, f"/i/disk.raw.{suffix}"))
                self.assertEqual((DISK, "disk.img"), self.unpacked(packed, "https://h/disk.img"))

    def test_what_is_not_packed_stays_as_it_is(self) -> None:
        for content in (DISK, b"", b"\0", bytes(MIB), b"BZhello", b"\x1f\x8b\x00"):
            self.assertEqual((content, None), self.unpacked(content))

    def test_several_streams_and_the_padding_of_tapes_are_one_file(self) -> None:
        for suffix, compress in COMPRESSORS.items():
            packed = compress(DISK[:200_000]) + compress(b"") + compress(DISK[200_000:])
            for padding in (0, 4, 512, MIB):
                with self.subTest(suffix, padding=padding):
                    self.assertEqual(DISK, self.unpacked(packed + bytes(padding))[0])

    def test_a_skippable_frame_of_zstd_is_skipped(self) -> None:
        skipped = b"\x50\x2a\x4d\x18\x04\0\0\0size"
        self.assertEqual(DISK, self.unpacked(skipped + zstd(DISK) + skipped)[0])

    def test_a_stream_without_its_end_is_damaged(self) -> None:
        for suffix, compress in COMPRESSORS.items():
            packed = compress(DISK)
            for length in (12, len(packed) // 2, len(packed) - 1):
                with self.subTest(suffix, length=length):
                    self.refuse(packed[:length], "damaged.*has no end")

    def test_other_bytes_after_the_end_are_refused(self) -> None:
        for suffix, compress in COMPRESSORS.items():
            for rest in (b"garbage", bytes(600) + b"garbage", b"\x01" * MIB):
                with self.subTest(suffix):
                    self.refuse(compress(DISK) + rest, "other bytes follow the end")

    def test_changed_bytes_are_noticed(self) -> None:
        for suffix, compress in COMPRESSORS.items():
            if suffix == "zst":  # its checksum is optional, and Python's default has none
                continue
            packed = bytearray(compress(DISK))
            packed[len(packed) // 2] ^= 0xFF
            with self.subTest(suffix):
                self.refuse(bytes(packed), "damaged: its .* compression is wrong")

    def test_zeros_take_no_space(self) -> None:
        self.path.write_bytes(gzip.compress(bytes(64 * MIB)))
        path, _ = unpack(self.path, "disk.gz", no_progress, self.limits)
        self.assertEqual(64 * MIB, path.stat().st_size)
        self.assertLess(path.stat().st_blocks * 512, MIB)

    def test_progress_is_told(self) -> None:
        told: list[tuple[str, int, int]] = []
        self.path.write_bytes(lzma.compress(DISK))
        size = self.path.stat().st_size
        unpack(self.path, "/i/disk.xz", lambda *what: told.append(what), self.limits)
        self.assertEqual(("unpacking disk.xz", size, size), told[-1])


class LimitsTest(UnpackCase):
    def test_a_bomb_leaves_space_for_guests(self) -> None:
        usage = mock.Mock(free=24 * MIB, total=200 * MIB)  # 10 MiB of it are the reserve
        bombs = {suffix: make(b"x" * 16 * MIB) for suffix, make in COMPRESSORS.items()}
        with mock.patch("shutil.disk_usage", side_effect=lambda path: self.usage(usage)):
            for suffix, bomb in bombs.items():
                with self.subTest(suffix), self.refusing("not enough", exceptions.NotEnoughSpace):
                    self.unpacked(bomb)
                for path in self.home.iterdir():
                    path.unlink()

    def usage(self, usage: mock.Mock) -> mock.Mock:
        taken = sum(path.stat().st_blocks * 512 for path in self.home.iterdir())
        return mock.Mock(free=usage.free - taken, total=usage.total)

    def test_a_bomb_of_zeros_is_no_larger_than_a_disk(self) -> None:
        with mock.patch.object(pieces, "MAX_DISK_BYTES", 8 * MIB):
            for compress in COMPRESSORS.values():
                self.refuse(compress(bytes(8 * MIB + 1)), "is larger than")

    def test_memory_stays_small(self) -> None:
        """64 KiB of zstd can stand for 2 GiB."""
        for compress in COMPRESSORS.values():
            packed = compress(bytes(16 * MIB))
            kind = compression.recognise(packed)
            assert kind is not None
            made = compression.decompress(io.BytesIO(packed), kind, self.limits)
            self.assertLessEqual(max(map(len, made)), pieces.PIECE)

    def test_a_large_dictionary_needs_the_option(self) -> None:
        self.limits = tools.ToolLimits(cpu_seconds=60, memory_bytes=4 * MIB)
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 16 * MIB}]
        module = compression.zstd_module()
        window = {module.CompressionParameter.window_log: 27}
        compressor = module.ZstdCompressor(options=window)
        packed = {
            "xz": lzma.compress(DISK, filters=filters),
            "zstd": compressor.compress(DISK) + compressor.flush(),
        }
        for name, content in packed.items():
            with (
                self.subTest(name),
                self.refusing(f"decoder of {name}.*image_tool_memory_mib", tools.LimitPassed),
            ):
                self.unpacked(content)

    def test_processor_time_is_limited(self) -> None:
        self.limits = tools.ToolLimits(cpu_seconds=0, memory_bytes=256 * MIB)
        with self.refusing("image_tool_cpu_seconds", tools.LimitPassed):
            self.unpacked(gzip.compress(DISK))

    def test_processor_time_of_input_without_content_is_limited(self) -> None:
        """Neither empty members nor the zeros after the last one make any bytes."""
        self.limits = tools.ToolLimits(cpu_seconds=1, memory_bytes=256 * MIB)
        for content in (gzip.compress(b"") * 100_000, gzip.compress(b"") + bytes(2 * MIB)):
            self.path.write_bytes(content)
            clock = mock.Mock(side_effect=itertools.count(step=0.3))
            with (
                mock.patch.object(pieces.time, "thread_time", clock),
                self.assertRaisesRegex(tools.LimitPassed, "image_tool_cpu_seconds"),
            ):
                unpack(self.path, "disk", no_progress, self.limits)

    def test_a_missing_module_is_named(self) -> None:
        packed = zstd(DISK)
        with (
            mock.patch("importlib.import_module", side_effect=ImportError),
            self.refusing("zstd is not installed", exceptions.MissingDependency),
        ):
            self.unpacked(packed)

    def test_layers_end(self) -> None:
        packed = DISK
        for _ in range(3):
            packed = gzip.compress(packed)
        self.assertEqual(DISK, self.unpacked(packed)[0])
        self.refuse(gzip.compress(packed), "packed more than 3 times")
