# SPDX-License-Identifier: Apache-2.0
"""The config drive has the contents of nova's metadata service."""

from __future__ import annotations

import json

from nova.network import model

from compute_driver import exceptions
from compute_driver.nova import config_drive
from tests.nova.base import NovaCase


class ConfigDriveTest(NovaCase):
    def test_none_unless_asked_for(self) -> None:
        self.assertIsNone(config_drive.build(self.instance(), []))
        with self.assertRaises(exceptions.InvalidParameter):
            config_drive.build(self.instance(), [], [("/etc/motd", b"hello")])

    def test_all_versions_and_files(self) -> None:
        with self.config_drive() as instance:
            drive = config_drive.build(
                instance, model.NetworkInfo([]), [("/etc/motd", b"hello")], "secret"
            )
        assert drive is not None
        told = json.loads(drive.files["openstack/latest/meta_data.json"])
        self.assertEqual(instance.uuid, told["uuid"])
        self.assertEqual(("secret", {"role": "web"}), (told["admin_pass"], told["meta"]))
        self.assertEqual("/etc/motd", told["files"][0]["path"])
        self.assertEqual(b"hello", drive.files["openstack/content/0000"])
        self.assertIn("openstack/latest/network_data.json", drive.files)
        self.assertNotIn("secret", repr(drive))
