# SPDX-License-Identifier: Apache-2.0
"""The image cache with many clients, kills and full disks."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import stat
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.guest import MIB, Image
from compute_driver.images.cache import ImageCache
from compute_driver.images.entry import CachedImage
from compute_driver.system import tools
from tests.functional.images.base import PATTERN, SIZE, ImagesCase, sha256
from tests.functional.programs import output
from tests.image_server import DEADLINE, ImageServer

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
            self.cache.leftovers(remove=True)

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
        little = tools.ToolLimits(cpu_seconds=60, memory_bytes=160 * MIB)
        with mock.patch.object(tools, "limits", return_value=little):
            for _ in range(10):
                os.remove(self.cache.get(Image(location=str(path))).path)

    def test_a_conversion_beyond_its_limits_leaves_nothing(self) -> None:
        path = self.made("vmdk")
        tight = tools.ToolLimits(cpu_seconds=60, memory_bytes=32 * MIB)
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
        self.assertEqual(leftovers, self.cache.leftovers(remove=True))
        self.assertEqual([], self.files())

    def test_half_of_a_pair_is_a_leftover(self) -> None:
        whole = self.cache.get(Image(location=str(self.disk)))
        alone = self.store / ("0" * 64)
        note = self.store / f"{'1' * 64}.json"
        for path in (alone, note, self.store / "README"):
            path.write_text("x")
        self.assertEqual([alone, note], self.cache.leftovers(remove=True))
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
