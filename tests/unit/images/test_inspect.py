# SPDX-License-Identifier: Apache-2.0
"""Images with false formats, damaged headers and references, made by hand."""

from __future__ import annotations

import logging
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


def footer(
    kind: int, size: int, *, original_size: int | None = None, checksum: int | None = None
) -> bytes:
    """Return the footer of a VHD, by Microsoft's specification."""
    sizes = size if original_size is None else original_size, size
    block = bytearray(struct.pack(">8s32xQQ4xI", b"conectix", *sizes, kind).ljust(512, b"\0"))
    total = ~sum(block) & 0xFFFFFFFF if checksum is None else checksum
    block[64:68] = struct.pack(">I", total)
    return bytes(block)


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
    def test_a_sound_qcow2_image(self) -> None:
        for version in (2, 3):
            found = self.inspect(qcow2(version=version))
            self.assertEqual(ImageDetails(format=DiskFormat.QCOW2, virtual_size=GIB), found)

    def test_bytes_of_no_known_format_are_raw(self) -> None:
        for content in (b"\0" * 1000, random.Random(1).randbytes(MIB), b"text\n" * 99 + bytes(99)):
            found = self.inspect(content)
            self.assertEqual(DiskFormat.RAW, found.format)
            self.assertEqual(-(-len(content) // 512) * 512, found.virtual_size)

    def test_a_disk_with_a_boot_sector_is_raw(self) -> None:
        no_partition = b"\0" * 510 + b"\x55\xaa"
        for content in (partitioned(), no_partition):
            self.assertEqual(DiskFormat.RAW, self.inspect(content + bytes(MIB)).format)

    def test_an_iso_image_may_have_partitions(self) -> None:
        for content in (iso(), iso(partitioned())):
            found = self.inspect(content, DiskFormat.ISO)
            self.assertEqual(DiskFormat.ISO, found.format)
            self.assertEqual(len(content) // 512 * 512 + 512, found.virtual_size)


class VhdTest(InspectCase):
    DISK = bytes(5_000_192)  # no multiple of the cylinders of a geometry

    def test_a_vhd_of_fixed_size_is_a_disk_without_the_footer(self) -> None:
        for disk in (self.DISK, partitioned() + self.DISK[512:]):
            wanted = ImageDetails(format=DiskFormat.VHD, virtual_size=len(disk))
            for claimed in (None, DiskFormat.VHD):
                self.assertEqual(wanted, self.inspect(disk + footer(2, len(disk)), claimed))

    def test_the_insistence_on_raw_keeps_the_footer(self) -> None:
        found = self.inspect(self.DISK + footer(2, len(self.DISK)), DiskFormat.RAW)
        self.assertEqual((DiskFormat.RAW, len(self.DISK) + 512), (found.format, found.virtual_size))

    def test_the_current_size_of_a_dynamic_vhd_counts(self) -> None:
        content = footer(3, GIB, original_size=MIB) + bytes(MIB)
        wanted = ImageDetails(format=DiskFormat.VHD, virtual_size=GIB)
        self.assertEqual(wanted, self.inspect(content))

    def test_a_vhd_based_on_another_one_is_refused(self) -> None:
        self.refuse(footer(4, GIB) + bytes(MIB), "based on another VHD")
        self.refuse(bytes(MIB) + footer(4, MIB), "based on another VHD")

    def test_a_vhd_that_lacks_its_end_or_its_checksum_is_damaged(self) -> None:
        self.refuse(bytes(MIB) + footer(2, 2 * MIB), "is longer")
        self.refuse(footer(3, GIB, checksum=1) + bytes(MIB), "wrong checksum")
        # Any disk may end with these bytes.
        found = self.inspect(bytes(MIB) + footer(2, MIB, checksum=1))
        self.assertEqual(DiskFormat.RAW, found.format)


class RefusedTest(InspectCase):
    def test_an_empty_file_is_no_image(self) -> None:
        self.refuse(b"", "is empty")

    def test_a_false_format_is_refused(self) -> None:
        self.refuse(qcow2(), "is said to be raw, but is qcow2", DiskFormat.RAW)
        self.refuse(bytes(MIB), "is said to be qcow2, but is raw", DiskFormat.QCOW2)
        self.refuse(iso(), "is said to be raw, but is iso", DiskFormat.RAW)

    def test_an_image_that_names_other_files_is_refused(self) -> None:
        self.refuse(qcow2(backing=512), "backing file")
        self.refuse(qcow2(features=1 << 2), "data_file")

    def test_unknown_features_are_refused(self) -> None:
        self.refuse(qcow2(features=1 << 5), "Unknown")
        self.refuse(qcow2(features=1 << 63), "Unknown")
        self.refuse(qcow2(version=4), "version")

    def test_encrypted_images_are_refused(self) -> None:
        self.refuse(qcow2(encryption=1), "encrypted")
        self.refuse(b"LUKS\xba\xbe\x00\x01".ljust(4096, b"\0"), "luks; accepted: iso, qcow2")

    def test_a_disk_that_is_text_only_in_part_is_raw(self) -> None:
        for content in (b"\xff" * 4096, b" " * 512 + bytes(4096), bytes(4096) + b" " * 512):
            self.assertEqual(DiskFormat.RAW, self.inspect(content).format)

    def test_a_text_is_refused_unless_the_user_insists(self) -> None:
        for content in (b"text\n" * 1000, "404: página ausente\r\n".encode(), b"\x1b[1mno\n"):
            self.refuse(content, "is a text; accepted: iso.*--image-format raw")
            self.assertEqual(DiskFormat.RAW, self.inspect(content, DiskFormat.RAW).format)

    def test_absurd_sizes_are_refused(self) -> None:
        self.refuse(qcow2(size=0), "of 0 bytes")
        self.refuse(qcow2(size=MAX_DISK_BYTES + 512), "accepted: 1 to")

    def test_damaged_headers_are_refused(self) -> None:
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
        self.refuse(b"QED\0".ljust(4096, b"\0"), "qed; accepted: iso, qcow2.*convert -f qed")
        self.refuse(b"COWD".ljust(4096, b"\0"), "a VMDK of ESX.*convert -f vmdk")
        self.refuse(qcow2(version=1), "is qcow of version 1; .*convert -f qcow -O qcow2")
        text = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\n'
        extent = b'RW 2048 FLAT "/etc/shadow" 0\n'
        self.refuse(
            (text + extent).ljust(1024, b"\n"), "monolithicSparse.*convert -f vmdk -O qcow2"
        )

    def test_other_forms_of_disks_and_documents_are_not_raw(self) -> None:
        forms = {
            "lzip": b"LZIP\x01",
            "lz4": b"\x04\x22\x4d\x18",
            "ZIP": b"PK\x03\x04",
            "7z": b"7z\xbc\xaf\x27\x1c",
            "RAR": b"Rar!\x1a\x07\x01\x00",
            "Windows Imaging": b"MSWIM\0\0\0",
            "Parallels": b"WithouFreSpacExt",
            "cpio": b"070701",
            "ar archive": b"!<arch>\ndebian-binary",
            "Proxmox": b"VMA\0\0\0\0\1",
            "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "torrent": b"d8:announce35:udp://tracker",
            "JSON": b'{"error": "expired"}',
            "macOS": bytes(MIB) + b"koly".ljust(512, b"\0"),
            "HTML": b"\n<!DOCTYPE html><title>Sign in</title>",
            "XML or": b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>",
        }
        for kind, content in forms.items():
            with self.subTest(kind):
                content = content.ljust(1024, b"\0")
                self.refuse(content, f"{kind}.*--image-format raw")
                self.refuse(content, f"{kind}.*--image-format raw", DiskFormat.QCOW2)
                self.assertEqual(DiskFormat.RAW, self.inspect(content, DiskFormat.RAW).format)

    def test_a_declared_format_that_is_none_tells_how_to_insist(self) -> None:
        for claimed in (DiskFormat.QCOW2, DiskFormat.VMDK, DiskFormat.VHDX):
            for content in (b"noise\0" * 1000, bytes(MIB), qcow2()[4:]):
                self.refuse(content, f"said to be {claimed}.*--image-format raw", claimed)

    def test_a_corrupt_qcow2_has_a_remedy(self) -> None:
        self.refuse(qcow2(features=1 << 1), "marks it as corrupt; 'qemu-img check -r all'")

    def test_the_suffix_of_a_name_must_match_the_format(self) -> None:
        self.path.write_bytes(b"noise\0" * 1000)
        for suffix in ("qcow2", "vmdk", "vhdx", "vdi", "vhd", "iso", "xz", "tgz", "ova", "hdd"):
            for name in (f"/images/disk.{suffix.upper()}", f"https://host/disk.{suffix}?x=y"):
                with (
                    self.subTest(name),
                    self.assertRaisesRegex(exceptions.ImageUnacceptable, f"is no {suffix}"),
                ):
                    inspect(self.path, name=name)
        for name in ("/images/disk.img", "/images/disk.raw", "/images/disk"):
            self.assertEqual(DiskFormat.RAW, inspect(self.path, name=name).format)

    def test_two_formats_at_once_are_refused(self) -> None:
        content = bytearray(qcow2())
        content[32768:34816] = iso()[32768:34816]
        self.refuse(bytes(content), "iso and qcow2 at once")

    def test_all_failures_of_parsers_are_typed_errors(self) -> None:
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
