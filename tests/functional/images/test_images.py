# SPDX-License-Identifier: Apache-2.0
"""The image cache with images of qemu-img and xorriso, many clients, kills and full disks."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import logging
import os
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import MIB, Image
from compute_driver.images.cache import ImageCache
from compute_driver.images.entry import CachedImage
from compute_driver.system import tools
from tests.functional.programs import described, output
from tests.image_server import DEADLINE, ImageServer, configured

SIZE = 4 * MIB
PATTERN = bytes(range(1, 129)) * 512  # 64 KiB without a zero byte, so no tool skips a part

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

ASK = """
import sys
from pathlib import Path
from compute_driver.guest import Image
from compute_driver.images.cache import ImageCache
from tests.functional.programs import described, output
from tests.image_server import configured
conf = configured(Path(sys.argv[1]))
image = Image(location=sys.argv[2], checksum=sys.argv[3])
print(ImageCache(conf).get(image).path)
"""

ASK_GREEN = """
import eventlet
eventlet.monkey_patch()
import sys
from pathlib import Path
from compute_driver.guest import Image
from compute_driver.images.cache import ImageCache
from tests.functional.programs import described, output
from tests.image_server import configured
cache, image = ImageCache(configured(Path(sys.argv[1]))), Image(location=sys.argv[2])
asking = [eventlet.spawn(cache.get, image) for _ in range(30)]
images = [asked.wait() for asked in asking]
print(len(images), len(set(images)))
"""


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


class CacheTest(ImagesCase):
    def get(self, **fields: str) -> CachedImage:
        return self.cache.get(Image(location=str(self.disk), **fields))

    def test_others_may_read_complete_images_only(self) -> None:
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        cached = self.get()
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (self.store, self.store / "tmp", self.store / "locks", cached.path)
        }
        self.assertEqual(
            {"images": 0o711, "tmp": 0o700, "locks": 0o700, cached.path.name: 0o644}, modes
        )

    def test_a_hit_runs_no_program(self) -> None:
        first = self.get()
        with mock.patch("subprocess.Popen", side_effect=AssertionError):
            self.assertEqual(first, ImageCache(self.conf).get(Image(location=str(self.disk))))

    def test_an_image_that_changed_is_another_one(self) -> None:
        first = self.get()
        self.disk.write_bytes(PATTERN)
        second = self.get()
        self.assertNotEqual(first.path, second.path)
        self.assertEqual(PATTERN, second.path.read_bytes())
        self.assertEqual(SIZE, first.path.stat().st_size)

    def test_without_a_validator_only_a_checksum_spares_a_fetch(self) -> None:
        server = self.serve(self.disk.read_bytes())
        server.headers.clear()
        image = Image(location=server.url)
        first = self.cache.get(image)
        server.content = server.content[::-1]
        second = self.cache.get(image)
        self.assertEqual(server.content, second.path.read_bytes())
        self.assertNotEqual(first.path, second.path)
        image = Image(location=server.url, checksum=sha256(server.content))
        self.assertEqual(self.cache.get(image), self.cache.get(image))
        self.assertEqual(3, len(server.gets()))

    def test_lost_or_truncated_files_are_fetched_again(self) -> None:
        cached = self.get()
        note = cached.path.with_name(cached.path.name + ".json")
        for damage in (
            lambda: cached.path.unlink(),
            lambda: os.truncate(cached.path, 1000),
            lambda: note.unlink(),
            lambda: note.write_text("{"),
        ):
            damage()
            self.assertEqual(cached, self.get())
            self.assertEqual(self.disk.read_bytes(), cached.path.read_bytes())
        self.assertEqual(2, len(self.files()))

    def test_a_checksum_is_verified(self) -> None:
        content = self.disk.read_bytes()
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            right = hashlib.new(algorithm, content).hexdigest()
            wrong = hashlib.new(algorithm, b"other").hexdigest()
            with self.refusing(exceptions.ImageUnacceptable, f"{algorithm}:{right}, expected"):
                self.get(checksum=f"{algorithm}:{wrong}")
            os.remove(self.get(checksum=f"{algorithm}:{right}").path)
            self.cache.remove_leftovers()

    def test_a_kernel_stays_as_it_is(self) -> None:
        kernel = self.made("qcow2")  # also a kernel that looks like a disk
        cached = self.cache.get_file(Image(location=str(kernel)))
        self.assertEqual(kernel.read_bytes(), cached.read_bytes())
        self.assertEqual(cached, self.cache.get_file(Image(location=str(kernel))))
        self.assertNotEqual(cached, self.cache.get(Image(location=str(kernel))).path)

    def test_a_kernel_that_is_empty_is_refused(self) -> None:
        (self.home / "kernel").touch()
        with self.refusing(exceptions.ImageUnacceptable, "empty"):
            self.cache.get_file(Image(location=str(self.home / "kernel")))

    def test_a_directory_that_cannot_be_written_is_named(self) -> None:
        self.state.write_text("a file, not a directory")
        with self.assertRaisesRegex(exceptions.HostError, "images cannot be made"):
            self.get()

    def test_a_conversion_fits_into_little_memory(self) -> None:
        path = self.made("vmdk", "subformat=streamOptimized")
        little = tools.ToolLimits(cpu_seconds=60, memory_bytes=256 * MIB)
        with mock.patch.object(tools, "limits", return_value=little):
            for _ in range(10):
                os.remove(self.cache.get(Image(location=str(path))).path)

    def test_a_conversion_beyond_its_limits_leaves_nothing(self) -> None:
        path = self.made("vmdk")
        tight = tools.ToolLimits(cpu_seconds=60, memory_bytes=80 * MIB)
        with (
            mock.patch.object(tools, "limits", return_value=tight),
            self.refusing(tools.LimitPassed, "image_tool_memory_mib"),
        ):
            self.cache.get(Image(location=str(path)))


class ManyClientsTest(ImagesCase):
    def test_sixteen_threads_and_four_processes_fetch_once(self) -> None:
        server = self.serve(self.made("vmdk", "subformat=streamOptimized").read_bytes())
        server.gate.clear()
        image = Image(location=server.url, checksum=sha256(server.content))
        argv = [sys.executable, "-c", ASK, str(self.state), server.url, sha256(server.content)]
        others = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            futures = [pool.submit(self.cache.get, image) for _ in range(16)]
            server.wait_for(20, "HEAD")
            server.gate.set()
            paths = {future.result(DEADLINE).path for future in futures}
        for other in others:
            paths.add(Path(other.communicate(timeout=DEADLINE)[0].strip()))
            self.assertEqual(0, other.returncode)
        self.assertEqual(1, len(paths), paths)
        self.assertEqual(1, len(server.gets()))
        self.assertEqual(2, len(self.files()), self.files())

    def test_green_threads_fetch_once(self) -> None:
        server = self.serve(self.made("vmdk").read_bytes())
        argv = [sys.executable, "-W", "ignore", "-c", ASK_GREEN, str(self.state), server.url]
        self.assertEqual("30 1\n", output(*argv))
        self.assertEqual(1, len(server.gets()))


class KillTest(ImagesCase):
    def killed(self, server: ImageServer) -> None:
        """Kill a process in the middle of a fetch."""
        half = len(server.content) // 2
        server.gate.clear()
        argv = [sys.executable, "-c", ASK, str(self.state), server.url, sha256(server.content)]
        with subprocess.Popen(argv) as other:
            try:
                deadline = time.monotonic() + DEADLINE
                while sum(p.stat().st_size for p in self.store.glob("tmp/*.part")) < half:
                    self.assertLess(time.monotonic(), deadline, "the fetch did not begin")
                    time.sleep(0.02)
                self.assertEqual([], self.cache.leftovers())  # the process still works on the parts
            finally:
                other.kill()
        server.gate.set()

    def setUp(self) -> None:
        super().setUp()
        # Two buffers of the download, so the first one is a visible half.
        self.server = self.serve(os.urandom(2 * MIB))

    def test_the_next_fetch_continues_a_killed_one(self) -> None:
        self.killed(self.server)
        checksum = sha256(self.server.content)
        cached = self.cache.get(Image(location=self.server.url, checksum=checksum))
        self.assertEqual(self.server.content, cached.path.read_bytes())
        self.assertEqual([None, f"bytes={MIB}-"], [get.range for get in self.server.gets()])
        self.assertEqual([], self.cache.leftovers())
        self.assertEqual(2, len(self.files()))

    def test_leftovers_of_a_killed_fetch_are_found_and_removed(self) -> None:
        self.killed(self.server)
        leftovers = self.cache.leftovers()
        self.assertEqual({".part", ".validator"}, {path.suffix for path in leftovers})
        self.assertEqual(leftovers, self.cache.remove_leftovers())
        self.assertEqual([], self.files())

    def test_half_of_a_pair_is_a_leftover(self) -> None:
        whole = self.cache.get(Image(location=str(self.disk)))
        alone = self.store / ("0" * 64)
        note = self.store / f"{'1' * 64}.json"
        for path in (alone, note, self.store / "README"):
            path.write_text("x")
        self.assertEqual([alone, note], self.cache.remove_leftovers())
        self.assertTrue(whole.path.exists())
        self.assertTrue((self.store / "README").exists())

    def test_search_for_leftovers_makes_no_cache(self) -> None:
        self.assertEqual([], self.cache.leftovers())
        self.assertFalse(self.store.exists())


@unittest.skipUnless(os.geteuid() == 0, "needs root to mount a small file system")
class FullDiskTest(ImagesCase):
    def setUp(self) -> None:
        super().setUp()
        self.store.mkdir(parents=True)
        output("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", self.store)
        self.addCleanup(output, "umount", self.store)
        self.disk.write_bytes(PATTERN * 128)  # 8 MiB, but little when compressed

    def test_a_local_image_that_does_not_fit_leaves_nothing(self) -> None:
        reason = f"not enough space in {self.store}.*: {8 * MIB} bytes are needed"
        with self.refusing(exceptions.NotEnoughSpace, reason):
            self.cache.get(Image(location=str(self.disk)))

    def test_a_remote_image_that_does_not_fit_leaves_nothing(self) -> None:
        server = self.serve(self.disk.read_bytes())
        for says_length in (True, False):
            server.says_length = says_length
            checksum = None if says_length else sha256(server.content)
            with self.refusing(exceptions.NotEnoughSpace, f"not enough space in {self.store}"):
                self.cache.get(Image(location=server.url, checksum=checksum))

    def test_a_conversion_that_does_not_fit_leaves_nothing(self) -> None:
        path = self.made("vmdk", "subformat=streamOptimized")
        self.assertLess(path.stat().st_size, MIB)
        with self.refusing(exceptions.NotEnoughSpace, f"not enough space in {self.store}"):
            self.cache.get(Image(location=str(path)))
