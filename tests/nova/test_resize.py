# SPDX-License-Identifier: Apache-2.0
"""Instances get another size, and get the old size back."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

from nova import exception
from nova.compute import power_state
from nova.conf import CONF

from compute_driver import exceptions
from compute_driver.choices import FileSystem
from compute_driver.guest import GIB, MIB, Disk, Guest
from compute_driver.nova import resize
from tests.nova.base import NovaCase


class ResizeTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        self.instance_ = self.instance()
        self.spawn(self.instance_)
        self.larger = self.instance_.flavor.obj_clone()
        self.larger.memory_mb, self.larger.vcpus, self.larger.root_gb = 256, 2, 3
        self.larger.ephemeral_gb, self.larger.swap = 1, 16

    def guest(self) -> Guest:
        return self.driver._driver.show(self.instance_.uuid).guest

    def migrate(self, dest: str = "192.0.2.7") -> Any:
        return self.driver.migrate_disk_and_power_off(
            self.context, self.instance_, dest, self.larger, [], {}, 10, 1
        )

    def finish(self, *, power_on: bool = True) -> None:
        """Set the new flavor, as nova does, and finish the resize."""
        self.instance_.flavor = self.larger
        self.driver.finish_migration(
            *(self.context, None, self.instance_, "", [], self.instance_.image_meta, True, {}, {}),
            power_on,
        )

    def state(self) -> int:
        return int(self.driver.get_info(self.instance_).state)

    def test_confirmed(self) -> None:
        self.migrate()
        self.assertEqual(power_state.SHUTDOWN, self.state())
        self.finish()
        self.assertEqual(power_state.RUNNING, self.state())
        found = self.guest()
        self.assertEqual((2, 256), (found.vcpus, found.memory_mib))
        self.assertEqual(Disk(size_bytes=3 * GIB), found.root)
        self.assertEqual((Disk(size_bytes=GIB),), found.ephemerals)
        self.assertEqual(Disk(size_bytes=16 * MIB), found.swap)
        self.driver.confirm_migration(self.context, None, self.instance_, [])
        self.assertEqual(found, self.guest())

    def test_new_ephemeral_disk_has_the_file_system_of_nova_s_option(self) -> None:
        CONF.set_override("default_ephemeral_format", "xfs")
        self.addCleanup(CONF.clear_override, "default_ephemeral_format")
        self.migrate()
        self.finish()
        disk = Disk(size_bytes=GIB, filesystem=FileSystem.XFS)
        self.assertEqual((disk,), self.guest().ephemerals)

    def test_reverted(self) -> None:
        before, flavor = self.guest(), self.instance_.flavor
        self.migrate()
        self.finish(power_on=False)
        self.assertEqual(power_state.SHUTDOWN, self.state())
        self.driver.destroy(self.context, self.instance_, [], {}, destroy_disks=False)
        self.assertFalse(self.driver.instance_exists(self.instance_))
        self.instance_.flavor = flavor
        self.driver.finish_revert_migration(self.context, self.instance_, [], None, {}, True)
        self.assertEqual(before, self.guest())
        self.assertEqual(power_state.RUNNING, self.state())

    def test_crash_in_between_is_reverted_by_nova_s_start(self) -> None:
        before = self.guest()
        self.migrate()
        self.driver.finish_revert_migration(self.context, self.instance_, [], None, {}, True)
        self.assertEqual((before, power_state.RUNNING), (self.guest(), self.state()))

    def test_guest_that_vanishes_during_the_check_puts_the_instance_back(self) -> None:
        gone = exceptions.GuestNotFound(self.instance_.uuid)
        with (
            mock.patch.object(self.driver._driver, "check_resize", side_effect=gone),
            self.assertRaises(exception.InstanceFaultRollback),
        ):
            self.migrate()

    def test_refusals_put_the_instance_back(self) -> None:
        def refused(kind: type[Exception], text: str, dest: str = "192.0.2.7") -> None:
            with self.assertRaises(exception.InstanceFaultRollback) as caught:
                self.migrate(dest)
            self.assertIsInstance(caught.exception.inner_exception, kind)
            self.assertIn(text, str(caught.exception.inner_exception))
            self.assertEqual(power_state.RUNNING, self.state())

        refused(exception.MigrationPreCheckError, "192.0.2.8", dest="192.0.2.8")
        self.larger.extra_specs = {"hw:numa_nodes": "2"}
        refused(exception.ResizeError, "hw:numa_nodes")
        self.larger.root_gb = 0
        refused(exception.ResizeError, "root_gb")

    def test_second_ephemeral_disk_keeps_its_size(self) -> None:
        two = (Disk(size_bytes=GIB), Disk(size_bytes=2 * GIB))
        now = dataclasses.replace(self.guest(), ephemerals=two)
        found = resize.resized_guest(
            *(self.instance_, self.larger, self.instance_.image_meta, [], {}, None, now)
        )
        self.assertEqual(two, found.ephemerals)
