# SPDX-License-Identifier: Apache-2.0
"""Images inside compressions and archives, and packed files that mean harm."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import os
import random
import tarfile
import tempfile
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.driver import no_progress
from compute_driver.guest import MIB
from compute_driver.images import archive, compression, pieces
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


class ArchiveTest(UnpackCase):
    def test_the_disk_of_an_ova_is_the_one_that_its_description_names(self) -> None:
        more = (("./logo.png", b"PNG"), ("package.mf", b"SHA1(x)= 0"))
        for layout in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            packed = tar(
                ("vm.ovf", ovf("disk 1.vmdk".replace(" ", "%20"))),
                ("disk 1.vmdk", DISK),
                *more,
                layout=layout,
            )
            self.assertEqual((DISK, "disk 1.vmdk"), self.unpacked(packed))

    def test_a_compressed_disk_of_an_ova_is_unpacked(self) -> None:
        attributes = 'ovf:compression="gzip"'
        packed = tar(("vm.ovf", ovf("d.vmdk", more=attributes)), ("d.vmdk", gzip.compress(DISK)))
        self.assertEqual((DISK, "d.vmdk"), self.unpacked(lzma.compress(packed)))

    def test_a_lonely_disk_needs_no_description(self) -> None:
        directory = special("./", tarfile.DIRTYPE)
        disk = (tarfile.TarInfo("./disk.raw"), DISK)
        self.assertEqual((DISK, "disk.raw"), self.unpacked(tar_of(directory, disk)))
        packed = gzip.compress(tar(("disk.raw", DISK)))
        self.assertEqual((DISK, "disk.raw"), self.unpacked(packed, "/i/google.tar.gz"))
        packed = tar(("vm.ovf", b"<Envelope/>"), ("vm-disk1.vmdk", DISK), ("vm.mf", b""))
        self.assertEqual((DISK, "vm-disk1.vmdk"), self.unpacked(packed))

    def test_an_old_archive_without_a_magic_number_is_one(self) -> None:
        packed = bytearray(tar(("disk.raw", DISK)))
        packed[257:265] = bytes(8)
        packed[148:156] = b" " * 8
        packed[148:156] = b"%06o\0 " % sum(packed[:512])
        self.assertEqual((DISK, "disk.raw"), self.unpacked(bytes(packed)))

    def test_one_disk_is_wanted(self) -> None:
        two = (("a.vmdk", DISK), ("b.vmdk", DISK))
        self.refuse(tar(("vm.ovf", ovf("a.vmdk", "b.vmdk")), *two), "OVA with 2 disks; .*a.vmdk, b")
        self.refuse(tar(("vm.ovf", b"<Envelope/>"), *two), "names no disk, with 2 files")
        self.refuse(
            tar(*two), "tar archive, with 2 files; accepted: 1 disk; unpack.*a.vmdk, b.vmdk"
        )
        self.refuse(tar(("vm.ovf", ovf("c.vmdk")), *two), "without the disk 'c.vmdk'")
        self.refuse(tar(("vm.ovf", ovf()), ("vm.mf", b"")), "no disk, without a file that may")
        self.refuse(tar(("vm.mf", b"")), "tar archive, without a file that may be a disk")
        self.refuse(tar(("a.ovf", ovf()), ("b.ovf", ovf())), "2 OVF descriptions")

    def test_an_empty_disk_beside_the_disk_is_left_out(self) -> None:
        description = ovf("d.vmdk").replace(
            b"</ovf:DiskSection>", b'<ovf:Disk ovf:diskId="data"/></ovf:DiskSection>'
        )
        self.assertEqual(DISK, self.unpacked(tar(("vm.ovf", description), ("d.vmdk", DISK)))[0])

    def test_disks_in_parts_are_refused(self) -> None:
        disk = ("d.vmdk", DISK)
        chunks = ovf("d.vmdk", more='ovf:chunkSize="1024"')
        self.refuse(tar(("vm.ovf", chunks), disk), "in several parts")
        self.refuse(
            tar(("vm.ovf", ovf("d.vmdk", disk='ovf:parentRef="p"')), disk), "based on anoth"
        )

    def test_a_description_that_is_no_xml_is_damaged(self) -> None:
        self.refuse(tar(("vm.ovf", b"<Envelope>"), ("d.vmdk", DISK)), "damaged description")

    def test_names_outside_the_archive_are_refused(self) -> None:
        for name in ("../disk.raw", "/etc/passwd", "a/../../disk.raw"):
            self.refuse(tar((name, DISK)), "unsafe path")
        self.refuse(tar(("vm.ovf", ovf("../../etc/passwd")), ("d.vmdk", DISK)), "without the disk")
        self.refuse(tar(("vm.ovf", ovf("file:///etc/passwd")), ("d", DISK)), "without the disk")

    def test_links_and_devices_are_refused(self) -> None:
        kinds = {
            tarfile.SYMTYPE: "the link 'disk.raw'",
            tarfile.LNKTYPE: "the link 'disk.raw'",
            tarfile.CHRTYPE: "no regular file",
            tarfile.BLKTYPE: "no regular file",
            tarfile.FIFOTYPE: "no regular file",
        }
        for kind, reason in kinds.items():
            with self.subTest(kind):
                self.refuse(tar_of(special("disk.raw", kind, "/etc/shadow")), reason)

    def test_two_files_of_one_name_are_refused(self) -> None:
        self.refuse(tar(("d", DISK), ("./d", DISK)), "two files 'd'")

    def test_a_cut_archive_is_damaged(self) -> None:
        packed = tar(("disk.raw", DISK))
        for length in (513, len(DISK) // 2, 512 + len(DISK) - 1):
            self.refuse(packed[:length], "damaged tar archive")

    def test_a_damaged_header_is_told(self) -> None:
        packed = bytearray(tar(("disk.raw", DISK)))
        packed[0] ^= 1
        self.refuse(bytes(packed), "damaged tar archive")

    def test_headers_without_end_are_refused(self) -> None:
        long = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
        long[0].size = 17 * MIB
        self.refuse(tar_of((long[0], b"x"), (tarfile.TarInfo("d"), DISK)), "bytes of headers")

    def test_random_bytes_make_no_other_error(self) -> None:
        chance = random.Random(5)
        originals = [tar(("vm.ovf", ovf("d.vmdk")), ("d.vmdk", DISK[:MIB]))]
        originals += [compress(DISK[:MIB]) for compress in COMPRESSORS.values()]
        for original in originals:
            for _ in range(20):
                content = bytearray(original)
                for _ in range(chance.choice((1, 8, 64))):
                    content[chance.randrange(chance.choice((64, 1536)))] ^= chance.randrange(256)
                with contextlib.suppress(
                    exceptions.ImageUnacceptable, exceptions.NotEnoughSpace, tools.LimitPassed
                ):
                    self.unpacked(bytes(content))
                for path in self.home.iterdir():
                    path.unlink()


class SparseTest(UnpackCase):
    """Google's recipe is ``tar --format=oldgnu -Sczf``."""

    SIZE = 4 * MIB

    def sparse(self, *extents: tuple[int, int], size: int = SIZE) -> bytes:
        """Return a sparse member of GNU tar's old format; by the header in tar.h."""
        entry = tarfile.TarInfo("disk.raw")
        entry.type = tarfile.GNUTYPE_SPARSE
        entry.size = sum(length for _, length in extents if length > 0)
        header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
        table = b"".join(b"%011o\0%011o\0" % extent for extent in extents)
        header[386 : 386 + len(table)] = table
        header[483:495] = b"%011o\0" % size
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        data = b"x" * entry.size
        return bytes(header) + data.ljust(-(-len(data) // 512) * 512, b"\0") + bytes(1024)

    def test_holes_are_kept(self) -> None:
        packed = self.sparse((512, 512), (MIB, 1024), (self.SIZE, 0))
        wanted = bytearray(self.SIZE)
        wanted[512:1024], wanted[MIB : MIB + 1024] = b"x" * 512, b"x" * 1024
        self.assertEqual((bytes(wanted), "disk.raw"), self.unpacked(packed))

    def test_holes_that_overlap_or_are_absurd_are_damage(self) -> None:
        self.refuse(self.sparse((1024, 512), (0, 512)), "overlap")
        self.refuse(self.sparse((0, 1024), (512, 512)), "overlap")
        self.refuse(self.sparse((self.SIZE, 512)), "damaged tar archive")
        with mock.patch.object(archive, "MAX_DISK_BYTES", MIB):
            self.refuse(self.sparse((0, 512)), "damaged tar archive")
