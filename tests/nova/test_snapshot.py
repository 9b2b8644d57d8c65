# SPDX-License-Identifier: Apache-2.0
"""Snapshots become images in Glance, or nova gets an error and no file is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from nova import exception
from nova.compute import task_states
from nova.conf import CONF

from tests.nova import glance
from tests.nova.base import NovaCase

SNAPSHOT = "c0ffee00-0000-4000-8000-000000000001"


class SnapshotTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        self.states: list[tuple[str | None, str | None]] = []
        self.before_upload = lambda: None

    def update(self, task_state: str, expected_state: str = task_states.IMAGE_SNAPSHOT) -> None:
        self.states.append((expected_state, task_state))
        if task_state == task_states.IMAGE_UPLOADING:
            self.before_upload()

    def snapshot(self, instance: Any) -> None:
        self.driver.snapshot(self.context, instance, SNAPSHOT, self.update)

    def assert_nothing_left(self) -> None:
        home = Path(CONF.libvirt.snapshots_directory)
        self.assertEqual([], [path for path in home.rglob("*") if path.parent != home])

    def test_image_is_filled_and_described(self) -> None:
        instance = self.instance()
        instance.kernel_id = "a-kernel"
        with glance.serving() as store:
            store.add(SNAPSHOT, name="monday", hw_disk_bus="scsi", base_image_ref="base")
            self.spawn(instance)
            self.snapshot(instance)
        record = store.records[SNAPSHOT]
        self.assertEqual(f"qcow2 of {instance.name}\n".encode(), store.contents[SNAPSHOT])
        self.assertEqual("monday", record["name"])
        self.assertEqual(("qcow2", "bare"), (record["disk_format"], record["container_format"]))
        # The properties from nova-api stay, and the driver adds others.
        self.assertEqual(("scsi", "base"), (record["hw_disk_bus"], record["base_image_ref"]))
        self.assertEqual("a-kernel", record["kernel_id"])
        self.assertEqual(("snapshot", "project"), (record["image_location"], record["owner_id"]))
        self.assertNotIn("ramdisk_id", record)
        self.assertEqual(
            [
                (task_states.IMAGE_SNAPSHOT, task_states.IMAGE_PENDING_UPLOAD),
                (task_states.IMAGE_PENDING_UPLOAD, task_states.IMAGE_UPLOADING),
            ],
            self.states,
        )
        self.assert_nothing_left()

    def test_format_is_what_nova_is_configured_for(self) -> None:
        CONF.set_override("snapshot_image_format", "raw", "libvirt")
        self.addCleanup(CONF.clear_override, "snapshot_image_format", "libvirt")
        instance = self.instance()
        with glance.serving() as store:
            store.add(SNAPSHOT)
            self.spawn(instance)
            self.driver.power_off(instance)
            self.snapshot(instance)
        self.assertEqual("raw", store.records[SNAPSHOT]["disk_format"])
        self.assertTrue(store.contents[SNAPSHOT].startswith(b"raw of"))

    def test_image_of_the_instance_may_require_quiescing(self) -> None:
        instance = self.instance()
        instance.system_metadata = {"image_os_require_quiesce": "yes"}
        image = self.image(os_require_quiesce="yes", hw_qemu_guest_agent="no")
        with glance.serving() as store:
            store.add(SNAPSHOT)
            self.spawn(instance, image)
            with self.assertRaises(exception.QemuGuestAgentNotEnabled):
                self.snapshot(instance)
            self.assertNotIn(SNAPSHOT, store.contents)
            instance.system_metadata = {}
            self.snapshot(instance)
        self.assert_nothing_left()

    def test_image_that_is_not_there_or_deleted_meanwhile(self) -> None:
        instance = self.instance()
        with glance.serving() as store:
            self.spawn(instance)
            with self.assertRaises(exception.ImageNotFound):
                self.snapshot(instance)
            self.assertEqual([], self.states)
            store.add(SNAPSHOT)
            self.before_upload = lambda: store.records.pop(SNAPSHOT)
            with self.assertRaises(exception.ImageNotFound):
                self.snapshot(instance)
        self.assert_nothing_left()

    def test_instance_that_is_gone_or_deleted_meanwhile(self) -> None:
        def delete() -> None:
            raise exception.UnexpectedDeletingTaskStateError(
                instance_uuid=instance.uuid, expected={}, actual={}
            )

        instance = self.instance()
        with glance.serving() as store:
            store.add(SNAPSHOT)
            with self.assertRaises(exception.InstanceNotFound):
                self.snapshot(instance)
            self.spawn(instance)
            self.before_upload = delete
            with self.assertRaises(exception.UnexpectedDeletingTaskStateError):
                self.snapshot(instance)
        self.assertNotIn(SNAPSHOT, store.contents)
        self.assert_nothing_left()

    def test_what_a_killed_service_has_left_goes_at_the_next_start(self) -> None:
        home = Path(CONF.libvirt.snapshots_directory)
        self.addCleanup(shutil.rmtree, home)
        left = home / f"compute-driver-{CONF.host}" / "tmp1" / "image"
        others = home / "compute-driver-another-host" / "tmp2" / "image"
        for path in (left, others):
            path.parent.mkdir(parents=True)
            path.touch()
        self.driver.init_host("host")
        self.assertFalse(left.exists())
        # On shared storage another host may be uploading the file.
        self.assertTrue(others.exists())

    def test_copies_wait_where_nova_is_configured_for(self) -> None:
        instance = self.instance()
        waiting: list[Path] = []
        with tempfile.TemporaryDirectory() as home, glance.serving() as store:
            CONF.set_override("snapshots_directory", home, "libvirt")
            self.addCleanup(CONF.clear_override, "snapshots_directory", "libvirt")
            store.add(SNAPSHOT)
            self.spawn(instance)
            self.before_upload = lambda: waiting.extend(Path(home).rglob("*.qcow2"))
            self.snapshot(instance)
            self.assertEqual([f"{SNAPSHOT}.qcow2"], [path.name for path in waiting])
            self.assert_nothing_left()

    def test_what_cannot_be_removed_is_told(self) -> None:
        home = Path(CONF.libvirt.snapshots_directory)
        self.addCleanup(shutil.rmtree, home)
        left = home / f"compute-driver-{CONF.host}" / "tmp1" / "image"
        left.parent.mkdir(parents=True)
        left.touch()
        refusal = PermissionError(1, "Operation not permitted")
        with (
            mock.patch.object(os, "unlink", side_effect=refusal),  # even root could be refused
            self.assertLogs("compute_driver.nova.snapshot", "WARNING") as logs,
        ):
            self.driver.init_host("host")
        self.assertIn(f"{left} cannot be removed", logs.output[0])
