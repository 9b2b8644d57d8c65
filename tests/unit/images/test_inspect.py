# SPDX-License-Identifier: Apache-2.0
"""Bytes that are not what they pretend to be, made by hand."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import random
import struct
import tempfile
import unittest
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import GIB, MAX_DISK_BYTES, MIB
from compute_driver.images.inspect import ImageDetails, inspect

CLUSTER = 65536


def qcow2(
    *,
    version: int = 3,
    backing: int = 0,
    cluster_bits: int = 16,
    size: int = GIB,
    encryption: int = 0,
    l1_entries: int = 2,
    l1_offset: int = 3 * CLUSTER,
    features: int = 0,
) -> bytes:
    """Return an empty qcow2 image, by QEMU's docs/interop/qcow2.txt."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQQ",
        b"QFI\xfb",
        version,
        backing,
        0,
        cluster_bits,
        size,
        encryption,
        l1_entries,
        l1_offset,
        CLUSTER,
        1,
        0,
        0,
        features,
    )
    return header.ljust(4 * CLUSTER, b"\0")


def iso(boot_sector: bytes = b"") -> bytes:
    """Return the beginning of an ISO 9660 image of 100 blocks."""
    volume = bytearray(2048)
    volume[:7] = b"\x01CD001\x01"
    volume[80:84] = struct.pack("<L", 100)
    volume[128:130] = struct.pack("<H", 2048)
    return boot_sector.ljust(32768, b"\0") + bytes(volume) + bytes(170_000)


def partitioned() -> bytes:
    entry = struct.pack("<B3BB3BII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 2047)
    return b"\0" * 446 + entry + b"\0" * 48 + b"\x55\xaa"


class InspectCase(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.path = Path(holder.name, "image")
        logging.disable(logging.WARNING)  # of the parsers
        self.addCleanup(logging.disable, logging.NOTSET)

    def inspect(self, content: bytes, claimed: DiskFormat | None = None) -> ImageDetails:
        self.path.write_bytes(content)
        return inspect(self.path, claimed=claimed)

    def refuse(self, content: bytes, reason: str, claimed: DiskFormat | None = None) -> None:
        with self.assertRaisesRegex(exceptions.ImageUnacceptable, reason):
            self.inspect(content, claimed)


class AcceptedTest(InspectCase):
    def test_a_sound_qcow2_is_one(self) -> None:
        for version in (2, 3):
            found = self.inspect(qcow2(version=version))
            self.assertEqual(ImageDetails(format=DiskFormat.QCOW2, virtual_size=GIB), found)

    def test_what_nobody_recognises_is_raw(self) -> None:
        for content in (b"\0" * 1000, random.Random(1).randbytes(MIB), b"text\n" * 1000):
            found = self.inspect(content)
            self.assertEqual(DiskFormat.RAW, found.format)
            self.assertEqual(-(-len(content) // 512) * 512, found.virtual_size)

    def test_partitions_are_the_guests_business(self) -> None:
        no_partition = b"\0" * 510 + b"\x55\xaa"
        for content in (partitioned(), no_partition):
            self.assertEqual(DiskFormat.RAW, self.inspect(content + bytes(MIB)).format)

    def test_an_iso_is_one_even_with_partitions(self) -> None:
        for content in (iso(), iso(partitioned())):
            found = self.inspect(content, DiskFormat.ISO)
            self.assertEqual(DiskFormat.ISO, found.format)
            self.assertEqual(len(content) // 512 * 512 + 512, found.virtual_size)


class RefusedTest(InspectCase):
    def test_nothing_is_no_image(self) -> None:
        self.refuse(b"", "is empty")

    def test_labels_are_not_believed(self) -> None:
        self.refuse(qcow2(), "is said to be raw, but is qcow2", DiskFormat.RAW)
        self.refuse(bytes(MIB), "is said to be qcow2, but is raw", DiskFormat.QCOW2)
        self.refuse(iso(), "is said to be raw, but is iso", DiskFormat.RAW)

    def test_other_files_are_not_read(self) -> None:
        self.refuse(qcow2(backing=512), "backing file")
        self.refuse(qcow2(features=1 << 2), "data_file")

    def test_unknown_features_are_not_used(self) -> None:
        self.refuse(qcow2(features=1 << 5), "Unknown")
        self.refuse(qcow2(features=1 << 63), "Unknown")
        self.refuse(qcow2(version=4), "version")

    def test_encrypted_images_cannot_be_read(self) -> None:
        self.refuse(qcow2(encryption=1), "encrypted")
        self.refuse(b"LUKS\xba\xbe\x00\x01".ljust(4096, b"\0"), "luks; accepted: iso, qcow2")

    def test_absurd_sizes_are_not_promised(self) -> None:
        self.refuse(qcow2(size=0), "of 0 bytes")
        self.refuse(qcow2(size=MAX_DISK_BYTES + 512), "accepted: 1 to")

    def test_damaged_headers_are_told(self) -> None:
        damaged = {
            "truncated": qcow2()[:100],
            "tables cut off": qcow2()[: 2 * CLUSTER],
            "tables elsewhere": qcow2(l1_offset=1 << 40),
            "tables too small": qcow2(size=1024 * GIB),
            "cluster size": qcow2(cluster_bits=63),
            "marked": qcow2(features=1 << 1),
            "vdi": (b"\0" * 0x40 + b"\x7f\x10\xda\xbe").ljust(300, b"\0"),
            "vmdk": b"KDMV" + b"\xff" * 2000,
            "vhd": b"conectix",
            "vhdx": b"vhdxfile" + bytes(MIB),
        }
        for what, content in damaged.items():
            with self.subTest(what):
                self.refuse(content, "damaged|accepted")

    def test_retired_and_foreign_formats_are_not_raw(self) -> None:
        self.refuse(b"QED\0".ljust(4096, b"\0"), "qed; accepted: iso, qcow2")
        self.refuse(b"COWD".ljust(4096, b"\0"), "begins like vmdk")
        text = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\n'
        extent = b'RW 2048 FLAT "/etc/shadow" 0\n'
        self.refuse((text + extent).ljust(1024, b"\n"), "monolithicSparse")

    def test_compressed_and_packed_images_are_not_raw(self) -> None:
        tar = b"disk.ovf".ljust(257, b"\0") + b"ustar"
        packed = {
            "by xz": lzma.compress(b"disk"),
            "by gzip": gzip.compress(b"disk"),
            "by bzip2": bz2.compress(b"disk"),
            "by zstd": b"\x28\xb5\x2f\xfd",
            "ZIP": b"PK\x03\x04",
            "OVA": tar,
            "Parallels": b"WithouFreSpacExt",
            "HTML": b"\n<!DOCTYPE html><title>Sign in</title>",
            "VHD of fixed size": bytes(MIB) + b"conectix".ljust(512, b"\0"),
        }
        for kind, content in packed.items():
            with self.subTest(kind):
                content = content.ljust(1024, b"\0") if kind != "VHD of fixed size" else content
                self.refuse(content, f"{kind}.*--image-format raw")
                self.assertEqual(DiskFormat.RAW, self.inspect(content, DiskFormat.RAW).format)

    def test_a_name_that_promises_a_format_is_kept_to(self) -> None:
        self.path.write_bytes(b"noise " * 1000)
        for suffix in ("qcow2", "vmdk", "vhdx", "vdi", "vhd", "iso"):
            for name in (f"/images/disk.{suffix.upper()}", f"https://host/disk.{suffix}?x=y"):
                with (
                    self.subTest(name),
                    self.assertRaisesRegex(exceptions.ImageUnacceptable, f"is no {suffix}"),
                ):
                    inspect(self.path, name=name)
        for name in ("/images/disk.img", "/images/disk.raw", "/images/disk"):
            self.assertEqual(DiskFormat.RAW, inspect(self.path, name=name).format)

    def test_two_formats_at_once_are_a_trick(self) -> None:
        content = bytearray(qcow2())
        content[32768:34816] = iso()[32768:34816]
        self.refuse(bytes(content), "iso and qcow2 at once")

    def test_no_bytes_make_a_parser_fail_in_another_way(self) -> None:
        chance = random.Random(4)
        for original in (qcow2(), iso(), b"KDMV\x01".ljust(CLUSTER, b"\0")):
            for _ in range(40):
                content = bytearray(original)
                for _ in range(chance.choice((1, 8, 64))):
                    content[chance.randrange(chance.choice((96, 1024, 40000)))] ^= chance.randrange(
                        256
                    )
                del content[chance.randrange(1, len(content)) :]
                try:
                    found = self.inspect(bytes(content))
                except exceptions.ImageUnacceptable:
                    continue
                self.assertIn(found.format, DiskFormat)
