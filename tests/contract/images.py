# SPDX-License-Identifier: Apache-2.0
"""The cache of images, and images of guests."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskFormat, PowerState, SnapshotFormat
from compute_driver.guest import GIB, Disk, Image
from tests.contract.base import BOOT_TIMEOUT, Case


class Images(Case):
    """See :class:`compute_driver.contract.images.Images`."""

    def test_image_is_cached_once_and_kept_while_a_guest_needs_it(self) -> None:
        with tempfile.NamedTemporaryFile(suffix=".qcow2") as file:
            source = self.make_image(Path(file.name))
            self.assertTrue(self.driver.image_cache(source))
            self.assertFalse(self.driver.image_cache(source))
            guest = self.make_guest(image=source, root=Disk(size_bytes=GIB), interfaces=())
            self.addCleanup(self.driver.destroy, guest.uuid)
            self.driver.spawn(guest, power_on=False)
            (entry,) = (e for e in self.driver.image_list() if guest.uuid in e.guests)
            self.assertEqual(source.location, entry.source)
            self.assertNotIn(entry, self.driver.image_prune(unused=3600))
            self.assertNotIn(entry.path, [e.path for e in self.driver.image_prune(unused=0)])
            self.driver.destroy(guest.uuid)
            self.assertIn(entry.path, [e.path for e in self.driver.image_prune(unused=0)])
            self.assertNotIn(entry.path, [e.path for e in self.driver.image_list()])

    def make_image(self, path: Path) -> Image:
        """Make an empty disk image; no guest boots from it."""
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"]
        subprocess.run(argv, check=True)
        return Image(location=str(path), format=DiskFormat.QCOW2)

    def test_image_that_is_not_there_is_not_cached(self) -> None:
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.image_cache(Image(location="/no/such/image"))

    def test_snapshot_of_a_running_guest_boots_elsewhere(self) -> None:
        guest = self.shared()
        target = self.snapshot_directory() / "image.qcow2"
        reported: list[tuple[int, int]] = []
        self.driver.snapshot(
            guest.uuid, target, progress=lambda _what, done, total: reported.append((done, total))
        )
        self.assertIs(self.state(guest), PowerState.RUNNING)
        self.assertEqual([target], list(target.parent.iterdir()))
        self.assertEqual(0o600, target.stat().st_mode & 0o777)
        self.assertTrue(all(done <= total for done, total in reported))
        copy = self.make_guest(image=Image(location=str(target)))
        self.addCleanup(self.driver.destroy, copy.uuid)
        self.driver.spawn(copy)
        self.driver.console_wait(copy.uuid, self.banner, timeout=BOOT_TIMEOUT)

    def test_snapshot_leaves_a_guest_in_its_state(self) -> None:
        guest = self.shared()
        directory = self.snapshot_directory()
        for enter, state in (
            (self.driver.pause, PowerState.PAUSED),
            (self.driver.suspend, PowerState.SUSPENDED),
            (lambda uuid: self.driver.stop(uuid, timeout=0), PowerState.STOPPED),
        ):
            enter(guest.uuid)
            for image_format in SnapshotFormat:
                target = directory / f"{state}.{image_format}"
                self.driver.snapshot(guest.uuid, target, image_format=image_format)
                self.assertTrue(target.stat().st_size)
            self.assertIs(self.state(guest), state)
        with self.boots(guest):
            self.driver.start(guest.uuid)

    def test_snapshot_is_of_the_format_that_its_suffix_says(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        directory = self.snapshot_directory()

        def beginning(name: str, image_format: SnapshotFormat | None = None) -> bytes:
            self.driver.snapshot(guest.uuid, directory / name, image_format=image_format)
            with (directory / name).open("rb") as file:
                return file.read(8)

        raw = beginning("raw.qcow2", SnapshotFormat.RAW)
        qcow2 = beginning("qcow2.raw", SnapshotFormat.QCOW2)
        self.assertNotEqual(raw, qcow2)
        for name, expected in {"a.raw": raw, "a.IMG": raw, "a.qcow2": qcow2, "a": qcow2}.items():
            self.assertEqual(expected, beginning(name), name)

    def test_snapshot_that_cannot_be_leaves_nothing(self) -> None:
        guest = self.shared()
        directory = self.snapshot_directory()
        taken = directory / "taken"
        taken.write_bytes(b"mine")
        for target in (taken, directory, directory / "none" / "image"):
            with self.subTest(target), self.assertRaises(exceptions.InvalidParameter):
                self.driver.snapshot(guest.uuid, target)
        self.assertEqual([taken], list(directory.iterdir()))
        self.assertEqual(b"mine", taken.read_bytes())
