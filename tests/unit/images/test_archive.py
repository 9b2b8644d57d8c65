# SPDX-License-Identifier: Apache-2.0
"""Images inside archives."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import random
import tarfile
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import MIB
from compute_driver.images import archive
from compute_driver.system import tools
from tests.unit.images.packed import COMPRESSORS, DISK, UnpackCase, ovf, special, tar, tar_of


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
