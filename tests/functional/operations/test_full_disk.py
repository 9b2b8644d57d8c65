# SPDX-License-Identifier: Apache-2.0
"""QEMU pauses a guest that writes to a full disk of the host: the reason is told everywhere."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import unittest
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, PowerState, StateReason
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, Disk, Image
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional import base, boot_sectors, tiny

SIZE_KIB = 24 * 1024
FILLER_BYTES = 20 * 1024**2


class FullDiskTest(unittest.TestCase):
    def test_the_reason_is_told_and_resume_fails_until_there_is_room(self) -> None:
        with (
            tempfile.TemporaryDirectory() as home,
            tiny.file_system(SIZE_KIB) as small,
            contextlib.ExitStack() as stack,
        ):
            image = Path(home, "writer.raw")
            image.write_bytes(boot_sectors.blocks())
            filler = small / "filler"
            filler.write_bytes(bytes(FILLER_BYTES))
            # A libvirt that runs already may not see the new file system.
            stack.callback(EmbeddedDaemon(Path(home)).stop)
            driver = LibvirtDriver(
                base.configuration(state_path=home, instances_path=str(small / "instances"))
            )
            stack.callback(driver.close)
            made = tiny.guest(
                image=Image(location=str(image), format=DiskFormat.RAW),
                root=Disk(size_bytes=GIB, bus=DiskBus.SATA),
                memory_mib=32,
            )
            states: queue.SimpleQueue[PowerState] = queue.SimpleQueue()
            driver.subscribe(lambda uuid, state: states.put(state))
            with self.assertLogs("compute_driver", "WARNING") as logged:
                stack.callback(driver.destroy, made.uuid)
                driver.spawn(made)
                while states.get(timeout=base.BOOT_TIMEOUT) is not PowerState.PAUSED:
                    pass
            self.assertIn("paused: I/O error", "\n".join(logged.output))

            told = "I/O error (sda: no space left on the host)"
            (listed,) = driver.list()
            (stats,) = driver.stats()
            (finding,) = driver.audit()
            self.assertEqual(StateReason.IO_ERROR, listed.state_reason)
            self.assertEqual(StateReason.IO_ERROR, stats.state_reason)
            self.assertEqual(told, driver.show(made.uuid).state_reason)
            self.assertEqual(("paused guest", told), (finding.kind, finding.detail))
            for verb in (driver.resume, driver.start):
                with self.assertRaisesRegex(exceptions.NotEnoughSpace, "sda: no space left"):
                    verb(made.uuid)
                self.assertIs(PowerState.PAUSED, driver.state(made.uuid))

            filler.unlink()
            driver.resume(made.uuid)
            self.assertIs(PowerState.RUNNING, driver.state(made.uuid))
            self.assertEqual("", driver.show(made.uuid).state_reason)
