# SPDX-License-Identifier: Apache-2.0
"""Audits find what sudden deaths and other programs have left."""

from __future__ import annotations

import shutil
import uuid

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.info import Finding
from compute_driver.operations.base import removal
from compute_driver.storage import owner
from tests.functional import base
from tests.functional.recovery import RecoveryTestCase


class TestAudit(RecoveryTestCase):
    def found(self, *, repair: bool = False) -> list[tuple[str, str]]:
        findings: tuple[Finding, ...] = self.driver.audit(repair=repair)
        self.assertEqual({repair}, {finding.repaired for finding in findings})
        return [(finding.kind, finding.subject) for finding in findings]

    def test_orphan_directory(self) -> None:
        for suffix in ("", removal.REMOVED):
            orphan = base.state_path() / "instances" / f"{uuid.uuid4()}{suffix}"
            orphan.mkdir(parents=True)
            (orphan / "root.qcow2").write_bytes(b"data")
            for repair in (False, True):
                self.assertEqual([("orphan directory", str(orphan))], self.found(repair=repair))
            self.assertFalse(orphan.exists())

    def test_files_of_others_are_left_alone(self) -> None:
        instances = base.state_path() / "instances"
        instances.mkdir(exist_ok=True)
        (instances / "lost+found").mkdir()
        (instances / "notes").write_text("of the administrator")
        self.addCleanup((instances / "lost+found").rmdir)
        self.addCleanup((instances / "notes").unlink)
        self.assertEqual((), self.driver.audit(repair=True))

    def test_partial_image(self) -> None:
        tmp = base.state_path() / "images" / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        part = tmp / f"{'0' * 64}.part"
        part.write_bytes(b"the first half")
        for repair in (False, True):
            self.assertEqual([("partial image", str(part))], self.found(repair=repair))
        self.assertFalse(part.exists())

    def test_orphan_directory_stays_where_another_host_has_guests(self) -> None:
        instances = base.state_path() / "instances"
        orphan = instances / str(uuid.uuid4())
        orphan.mkdir(parents=True)
        self.addCleanup(orphan.rmdir)
        other = instances / f"{owner.FILE}.another-host"
        other.touch()
        self.addCleanup(other.unlink)
        (finding,) = self.driver.audit(repair=True)
        self.assertEqual(("orphan directory", False), (finding.kind, finding.repaired))
        self.assertIn("another-host", finding.detail)

    def test_guest_that_lacks_a_disk(self) -> None:
        made = self.spawn_tiny()
        self.driver.stop(made.uuid, timeout=0)
        root = base.state_path() / "instances" / made.uuid / "root.qcow2"
        root.unlink()
        self.assertEqual([("missing file", str(root))], self.found())
        with self.assertRaises(exceptions.DiskUnusable):
            self.driver.start(made.uuid)
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)

    def test_a_guest_with_a_domain_only(self) -> None:
        made = self.spawn_tiny()
        self.driver.stop(made.uuid, timeout=0)
        shutil.rmtree(base.state_path() / "instances" / made.uuid)
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual("guest without files", finding.kind)
            self.assertFalse(finding.repaired)
        self.driver.destroy(made.uuid)
        self.assertEqual((), self.driver.list())
