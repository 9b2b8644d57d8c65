# SPDX-License-Identifier: Apache-2.0
"""Another client of the same libvirt changes a guest, and no operation of the driver loses data.

Each change is followed by each operation, with a guest of its own.  The guest writes through its
emulator before and after the change, and after the operation it reads all that it has written.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from compute_driver.choices import RebootKind
from compute_driver.guest import MIB, Disk, Guest, Image, Rescue
from tests.functional import tables
from tests.functional.other_client import AFTER, BEFORE, OtherClientTestCase, assert_content

Change = Callable[[OtherClientTestCase, Guest], None]


class TestDisks(OtherClientTestCase):
    """The table: operations, changes, and what the guest has written."""

    CHANGES = tables.rows(
        whole=(
            OtherClientTestCase.snapshot,
            OtherClientTestCase.two_snapshots,
            OtherClientTestCase.forgotten_snapshot,
            OtherClientTestCase.snapshot_elsewhere,
            OtherClientTestCase.internal_snapshot,
            OtherClientTestCase.commit,
            OtherClientTestCase.inner_commit,
            OtherClientTestCase.pull,
            OtherClientTestCase.copy,
            OtherClientTestCase.raw_copy,
            OtherClientTestCase.moved_back,
            OtherClientTestCase.attach_disk,
        ),
        part=(
            OtherClientTestCase.two_snapshots,
            OtherClientTestCase.inner_commit,
            OtherClientTestCase.copy,
            OtherClientTestCase.attach_disk,
        ),
    )

    @contextlib.contextmanager
    def changed(self, change: Change) -> Iterator[Guest]:
        """Yield a guest after a change, as a test of its own."""
        with self.subTest(change.__name__):
            made = self.spawn_tiny()
            self.write(made, *BEFORE)
            change(self, made)
            self.write(made, *AFTER)
            yield made
            self.driver.destroy(made.uuid)

    def after_each(self, operation: Callable[[Guest], object]) -> None:
        lines = []
        for change in self.CHANGES:
            with self.changed(change) as made:
                operation(made)
                self.assert_written(made, BEFORE, AFTER)
                name = self.id().rpartition(".")[2].removeprefix("test_")
                lines.append((name, change.__name__, "all data kept"))
        tables.show("other-clients", lines)

    def test_hard_reboot(self) -> None:
        self.after_each(lambda made: self.driver.reboot(made.uuid, kind=RebootKind.HARD))

    def test_stop_and_start(self) -> None:
        def restart(made: Guest) -> None:
            self.driver.stop(made.uuid, timeout=0)
            self.driver.start(made.uuid)

        self.after_each(restart)

    def test_suspend_and_resume(self) -> None:
        def resume(made: Guest) -> None:
            self.driver.suspend(made.uuid)
            self.driver.resume(made.uuid)

        self.after_each(resume)

    def test_rescue_and_unrescue(self) -> None:
        image = self.home / "rescue"
        image.write_bytes(bytes(MIB))

        def rescue(made: Guest) -> None:
            self.driver.rescue(made.uuid, Rescue(image=Image(location=str(image))), timeout=0)
            self.assert_written(made, BEFORE, AFTER)
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
            self.assert_written(made, BEFORE, AFTER)
            self.driver.unrescue(made.uuid)

        self.after_each(rescue)

    def resize(self, made: Guest) -> None:
        larger = dataclasses.replace(made, root=Disk(size_bytes=2 * MIB))
        self.driver.resize(made.uuid, larger, timeout=0)
        self.assert_written(made, BEFORE, AFTER)

    def test_resize_and_confirmation(self) -> None:
        def confirm(made: Guest) -> None:
            self.resize(made)
            self.driver.confirm_resize(made.uuid)
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)

        self.after_each(confirm)

    def test_resize_and_revert(self) -> None:
        def revert(made: Guest) -> None:
            self.resize(made)
            self.driver.revert_resize(made.uuid, timeout=0)

        self.after_each(revert)

    def test_snapshot(self) -> None:
        def copy(made: Guest) -> None:
            target = self.home / f"{made.uuid}.qcow2"
            for _ in ("running", "stopped"):
                self.driver.snapshot(made.uuid, target)
                assert_content(target, "qcow2", BEFORE, AFTER)
                self.driver.stop(made.uuid, timeout=0)
                target.unlink()
            self.driver.start(made.uuid)

        self.after_each(copy)
