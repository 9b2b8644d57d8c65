# SPDX-License-Identifier: Apache-2.0
"""Guests live, and come through a sudden death, with disks outside their directories."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from compute_driver.choices import PowerState
from compute_driver.guest import MIB, ConfigDrive, Disk, Guest, Image, Rescue
from compute_driver.storage import exchange
from tests import pool
from tests.functional import base, tiny, worker


class TestPool(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory(dir=base.state_path())
        self.addCleanup(scratch.cleanup)
        self.pool = Path(scratch.name)
        self.pool.chmod(0o711)  # QEMU's user opens the disks
        pool.use(self, self.pool)
        self.image = self.pool / "image"
        self.image.write_bytes(bytes(MIB))

    def names(self, made: Guest) -> set[str]:
        length = len(f"{made.uuid}_")
        return {path.name[length:] for path in self.pool.glob(f"{made.uuid}_*")}

    def in_directory(self, made: Guest) -> set[str]:
        directory = base.state_path() / "instances" / made.uuid
        return {path.name for path in base.entries(directory)}

    def assert_in_order(self, made: Guest, *names: str) -> None:
        """Expect a guest that can be powered on, with no other disks than those."""
        driver = self.other_driver()
        self.assertEqual((), driver.audit())
        self.assertEqual(set(names), self.names(made))
        driver.stop(made.uuid, timeout=0)
        driver.start(made.uuid)
        self.assertIs(PowerState.RUNNING, driver.show(made.uuid).state)

    def test_life_of_a_guest(self) -> None:
        image = Image(location=str(self.image))
        made = self.spawn_tiny(
            image=image, root=Disk(size_bytes=MIB), config_drive=ConfigDrive(hostname="a")
        )
        self.assertEqual({"console.log"}, self.in_directory(made))
        self.assert_in_order(made, "root", "config-drive")
        (cached,) = (e for e in self.driver.image_list() if e.source == str(self.image))
        self.assertEqual((made.uuid,), cached.guests)

        self.driver.rescue(made.uuid, Rescue(image=image), timeout=0)
        self.assert_in_order(made, "root", "config-drive", "rescue-system")
        self.driver.unrescue(made.uuid)
        self.assert_in_order(made, "root", "config-drive")

        copy = self.pool / "copy"
        self.driver.snapshot(made.uuid, copy)
        self.assertTrue(copy.exists())

        (self.pool / f"{made.uuid}_rescue-system").touch()
        (finding,) = self.driver.audit(repair=True)
        self.assertEqual("orphan file", finding.kind)
        self.assert_in_order(made, "root", "config-drive")

        self.driver.destroy(made.uuid)
        self.assertEqual(set(), self.names(made))

    def test_resize_and_the_way_back(self) -> None:
        made = self.spawn_tiny(ephemerals=(Disk(size_bytes=4 * MIB),))
        guest = self.driver.show(made.uuid).guest
        larger = dataclasses.replace(guest, root=Disk(size_bytes=2 * MIB))
        ends: tuple[tuple[Callable[[], object], int], ...] = (
            (lambda: self.driver.revert_resize(made.uuid, timeout=0), MIB),
            (lambda: self.driver.confirm_resize(made.uuid), 2 * MIB),
        )
        for end, size in ends:
            self.driver.resize(made.uuid, larger, timeout=0)
            kept = (f"root.{exchange.KEPT}", f"ephemeral0.{exchange.KEPT}")
            self.assert_in_order(made, "root", "ephemeral0", *kept)
            self.assertEqual(2 * MIB, self.size(made))
            end()
            self.assert_in_order(made, "root", "ephemeral0")
            self.assertEqual(size, self.size(made))

    def size(self, made: Guest) -> int:
        plan = self.driver._parts.plan(self.driver.show(made.uuid).guest)
        return self.driver._parts.on_domain(
            made.uuid, lambda domain: int(domain.blockInfo(str(plan.disks[0].source.address))[0])
        )

    def test_missing_disk_is_listed(self) -> None:
        made = self.spawn_tiny()
        self.driver.stop(made.uuid, timeout=0)
        (self.pool / f"{made.uuid}_root").unlink()
        (finding,) = self.driver.audit()
        self.assertEqual("missing file", finding.kind)
        self.assertEqual(str(self.pool / f"{made.uuid}_root"), finding.subject)

    def test_killed_spawn_leaves_no_disk(self) -> None:
        made = tiny.guest()
        with worker.running("spawn", made.uuid, pause="disk made") as other:
            self.assertEqual(worker.PAUSED, other.says())
        self.assertEqual({"root"}, self.names(made))
        self.other_driver()
        self.assertEqual(set(), self.names(made))

    def test_killed_exchange_leaves_one_of_two_guests(self) -> None:
        old, new = {"root"}, {"root", "swap"}
        kept = new | {f"root.{exchange.KEPT}"}
        for action, point, expected in (
            ("resize", "disk copied", old),
            ("resize", "domain redefined", old),
            ("resize", "new files complete", kept),
            ("resize", "new files moved", kept),
            ("revert_resize", "old files wanted", old),
            ("revert_resize", "old files moved", old),
            ("confirm_resize", "old files given up", new),
        ):
            with self.subTest(action, point=point):
                made = self.spawn_tiny()
                if action != "resize":
                    larger = worker.larger(self.driver, made.uuid)
                    self.driver.resize(made.uuid, larger, timeout=0)
                with worker.running(action, made.uuid, pause=point) as other:
                    self.assertEqual(worker.PAUSED, other.says())
                self.assert_in_order(made, *expected)
                self.driver.destroy(made.uuid)
                self.assertEqual(set(), self.names(made))
