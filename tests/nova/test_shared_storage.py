# SPDX-License-Identifier: Apache-2.0
"""Two hosts find out whether they share an instance's directory."""

from __future__ import annotations

from tests.nova.base import NovaCase


class SharedStorageTest(NovaCase):
    def test_hosts_find_out_whether_they_share_a_directory(self) -> None:
        instance = self.instance()
        directory = self.driver._directory(instance)
        self.assertIsNone(self.driver.check_instance_shared_storage_local(None, instance))
        directory.mkdir(parents=True)
        self.addCleanup(directory.rmdir)
        data = self.driver.check_instance_shared_storage_local(None, instance)
        self.assertTrue(self.driver.check_instance_shared_storage_remote(None, data))
        self.driver.check_instance_shared_storage_cleanup(None, data)
        self.assertFalse(self.driver.check_instance_shared_storage_remote(None, data))
