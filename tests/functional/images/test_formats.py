# SPDX-License-Identifier: Apache-2.0
"""Images of every format, also inside compressions and archives."""

from __future__ import annotations

import subprocess
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import Image
from tests.functional.images.base import PATTERN, SIZE, ImagesCase, sha256
from tests.functional.programs import described, output

#: qemu-img's format and options, the image's format, the format in the cache.
ACCEPTED = {
    "raw": ("raw", "", DiskFormat.RAW, DiskFormat.RAW),
    "qcow2": ("qcow2", "", DiskFormat.QCOW2, DiskFormat.QCOW2),
    "qcow2 of old": ("qcow2", "compat=0.10", DiskFormat.QCOW2, DiskFormat.QCOW2),
    "qcow2 zstd": ("qcow2", "compression_type=zstd", DiskFormat.QCOW2, DiskFormat.QCOW2),
    "vmdk": ("vmdk", "", DiskFormat.VMDK, DiskFormat.QCOW2),
    "vmdk stream": ("vmdk", "subformat=streamOptimized", DiskFormat.VMDK, DiskFormat.QCOW2),
    "vdi": ("vdi", "", DiskFormat.VDI, DiskFormat.QCOW2),
    "vdi static": ("vdi", "static=on", DiskFormat.VDI, DiskFormat.QCOW2),
    "vhd": ("vpc", "subformat=dynamic,force_size=on", DiskFormat.VHD, DiskFormat.QCOW2),
    "vhd fixed": ("vpc", "subformat=fixed,force_size=on", DiskFormat.VHD, DiskFormat.QCOW2),
    "vhdx": ("vhdx", "", DiskFormat.VHDX, DiskFormat.QCOW2),
    "vhdx fixed": ("vhdx", "subformat=fixed", DiskFormat.VHDX, DiskFormat.QCOW2),
}

REFUSED = {
    "qed": ("qed", "", "qed.*convert -f qed"),
    "qcow": ("qcow", "", "qcow of version 1.*convert -f qcow"),
    "parallels": ("parallels", "", "a disk of Parallels.*--image-format raw"),
    "extended L2 entries": ("qcow2", "extended_l2=on", "Unknown"),
    "backing file": ("qcow2", "backing_file={home}/disk.raw,backing_fmt=raw", "backing file"),
    "data file": ("qcow2", "data_file={home}/data", "data_file"),
    "vmdk parent": ("vmdk", "backing_file={home}/base.vmdk,backing_fmt=vmdk", "based on another"),
    "vmdk flat": ("vmdk", "subformat=monolithicFlat", "monolithicSparse"),
    "vmdk split": ("vmdk", "subformat=twoGbMaxExtentSparse", "monolithicSparse"),
}


class FormatTest(ImagesCase):
    def test_every_format_becomes_a_disk_with_the_same_content(self) -> None:
        for name, (image_format, options, known_as, wanted) in ACCEPTED.items():
            with self.subTest(name):
                path = self.made(image_format, options)
                cached = self.cache.get(Image(location=str(path), format=known_as))
                self.assertEqual((wanted, SIZE), (cached.format, cached.virtual_size))
                self.assertEqual(self.disk.read_bytes(), self.content(cached))
                self.assertEqual(SIZE, described(cached.path, str(wanted))["virtual-size"])
        self.assertEqual([], self.cache.leftovers())

    def test_dangerous_formats_are_refused(self) -> None:
        for name, (image_format, options, reason) in REFUSED.items():
            with (
                self.subTest(name),
                self.refusing(exceptions.ImageUnacceptable, reason),
            ):
                path = self.home / f"bad.{image_format}"
                chosen = ["-o", options.format(home=self.home)] if options else []
                output("qemu-img", "create", "-q", "-f", image_format, *chosen, path, "4M")
                self.cache.get(Image(location=str(path)))

    def test_no_backing_file_of_a_vmdk_is_opened(self) -> None:
        path, base = self.home / "child.vmdk", self.home / "base.vmdk"
        options = f"backing_file={base},backing_fmt=vmdk"
        output("qemu-img", "create", "-q", "-f", "vmdk", "-o", options, path)
        output("qemu-io", "-f", "vmdk", "-c", "write -P 7 0 64k", base)
        with mock.patch("compute_driver.images.inspect._VMDK_PARENT", "a new trick"):
            cached = self.cache.get(Image(location=str(path)))
        self.assertEqual(bytes(SIZE), self.content(cached))

    def test_encryption_is_refused(self) -> None:
        path = self.home / "secret.qcow2"
        output(
            *("qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=words"),
            *("-o", "encrypt.format=aes,encrypt.key-secret=key", path, "4M"),
        )
        with self.refusing(exceptions.ImageUnacceptable, "is encrypted"):
            self.cache.get(Image(location=str(path)))

    def test_an_iso_stays_an_iso_even_if_it_boots_from_a_stick(self) -> None:
        tree = self.home / "tree"
        tree.mkdir()
        (tree / "file").write_bytes(PATTERN)
        plain, hybrid = self.home / "plain.iso", self.home / "hybrid.iso"
        argv = ("xorriso", "-as", "mkisofs", "-quiet", "-o")
        output(*argv, plain, tree)
        output(*argv, hybrid, "-append_partition", "2", "0x83", self.disk, tree)
        self.assertEqual(b"\x55\xaa", hybrid.read_bytes()[510:512])
        for path in (plain, hybrid):
            with self.subTest(path.name):
                cached = self.cache.get(Image(location=str(path), format=DiskFormat.ISO))
                self.assertEqual(DiskFormat.ISO, cached.format)
                self.assertEqual(path.read_bytes(), cached.path.read_bytes())

    def test_a_wrong_label_is_refused(self) -> None:
        path = self.made("qcow2")
        with self.refusing(exceptions.ImageUnacceptable, "is said to be raw, but is qcow2"):
            self.cache.get(Image(location=str(path), format=DiskFormat.RAW))

    def test_a_truncated_image_is_refused(self) -> None:
        for image_format, options, known_as, _ in ACCEPTED.values():
            if image_format in ("raw", "vdi"):
                continue  # a missing end of such an image reads as zeros
            made = self.made(image_format, options)
            path = made.rename(made.with_suffix(f".{known_as}"))
            whole = path.read_bytes()
            path.write_bytes(whole[: max(400, len(whole) // 40)])
            with (
                self.subTest(image_format, options=options),
                self.refusing(exceptions.ImageUnacceptable, str(path)),
            ):
                self.cache.get(Image(location=str(path)))


class PackedTest(ImagesCase):
    OVF = (
        '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References>'
        '<File id="f" href="vm-disk1.vmdk"/></References><DiskSection><Disk fileRef="f"/>'
        "</DiskSection></Envelope>"
    )

    def packed(self, *argv: str | Path, target: Path) -> Path:
        """Return the file that a program writes to its standard output."""
        with target.open("wb") as file:
            subprocess.run([str(part) for part in argv], stdout=file, check=True, cwd=self.home)
        return target

    def ova(self, disk: Path) -> Path:
        disk.rename(self.home / "vm-disk1.vmdk")
        (self.home / "vm.ovf").write_text(self.OVF)
        return self.packed("tar", "c", "vm.ovf", "vm-disk1.vmdk", target=self.home / "vm.ova")

    def assert_cached(self, location: Path | str, wanted: DiskFormat, **fields: object) -> None:
        cached = self.cache.get(Image(location=str(location), **fields))
        self.assertEqual((wanted, SIZE), (cached.format, cached.virtual_size))
        self.assertEqual(self.disk.read_bytes(), self.content(cached))
        self.assertEqual([], self.cache.leftovers())

    def test_compressed_images_become_disks_with_their_content(self) -> None:
        for program in ("xz", "gzip", "bzip2", "zstd"):
            for image_format in ("qcow2", "raw"):
                with self.subTest(program, image_format=image_format):
                    path = self.home / f"disk.{image_format}.{program}"
                    self.packed(program, "-c", self.made(image_format), target=path)
                    self.assert_cached(path, DiskFormat(image_format))

    def test_the_disk_of_an_ova_becomes_a_disk(self) -> None:
        path = self.ova(self.made("vmdk", "subformat=streamOptimized"))
        for claimed in (None, DiskFormat.VMDK):
            self.assert_cached(path, DiskFormat.QCOW2, format=claimed)

    def test_a_sparse_archive_of_one_disk_becomes_a_disk(self) -> None:
        for layout in ("oldgnu", "gnu", "posix", "ustar"):
            sparse = [] if layout == "ustar" else ["--sparse"]
            argv = ["tar", f"--format={layout}", *sparse, "-cz", self.disk.name]
            with self.subTest(layout):
                path = self.packed(*argv, target=self.home / f"{layout}.tar.gz")
                self.assert_cached(path, DiskFormat.RAW)

    def test_the_checksum_is_that_of_the_published_bytes(self) -> None:
        path = self.packed("xz", "-c", self.made("qcow2"), target=self.home / "disk.qcow2.xz")
        server = self.serve(path.read_bytes())
        self.assert_cached(server.url, DiskFormat.QCOW2, checksum=sha256(path.read_bytes()))

    def test_the_insistence_on_raw_keeps_packed_bytes(self) -> None:
        path = self.packed("xz", "-c", self.made("qcow2"), target=self.home / "disk.qcow2.xz")
        cached = self.cache.get(Image(location=str(path), format=DiskFormat.RAW))
        self.assertEqual(path.read_bytes(), cached.path.read_bytes())

    def test_dangerous_images_are_refused_inside_packed_files(self) -> None:
        for name, (image_format, options, reason) in REFUSED.items():
            path = self.home / f"bad.{image_format}"
            chosen = ["-o", options.format(home=self.home)] if options else []
            output("qemu-img", "create", "-q", "-f", image_format, *chosen, path, "4M")
            packed = self.packed("gzip", "-c", path, target=self.home / f"{path.name}.gz")
            for source in (packed, self.ova(path)):
                with (
                    self.subTest(name, source=source.name),
                    self.refusing(exceptions.ImageUnacceptable, f"{source}, file .*{reason}"),
                ):
                    self.cache.get(Image(location=str(source)))

    def test_a_wrong_label_is_refused(self) -> None:
        path = self.packed("gzip", "-c", self.made("vmdk"), target=self.home / "disk.vmdk.gz")
        with self.refusing(exceptions.ImageUnacceptable, "said to be qcow2, but is vmdk"):
            self.cache.get(Image(location=str(path), format=DiskFormat.QCOW2))

    def test_a_qcow2_with_lazy_reference_counts_is_repaired_after_a_crash(self) -> None:
        path = self.made("qcow2", "lazy_refcounts=on")
        # QEMU writes the bit at the first write and removes the bit at the end: a crash keeps it.
        with path.open("r+b") as file:
            file.seek(79)
            file.write(b"\x01")
            file.seek(int.from_bytes(path.read_bytes()[48:56], "big"))
            table = int.from_bytes(file.read(8), "big")
            file.seek(table + 10)
            file.write(bytes(100))  # reference counts of the last clusters are not written yet
        before = path.read_bytes()
        self.assert_cached(path, DiskFormat.QCOW2)
        self.assertEqual(before, path.read_bytes())
