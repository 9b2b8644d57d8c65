# SPDX-License-Identifier: Apache-2.0
"""The config drive has what nova's metadata service would say."""

from __future__ import annotations

import json
from unittest import mock

from nova import objects
from nova.network import model, security_group_api

from compute_driver import exceptions
from compute_driver.nova import metadata
from tests.nova.base import NovaCase


class ConfigDriveTest(NovaCase):
    def test_none_unless_asked_for(self) -> None:
        self.assertIsNone(metadata.config_drive(self.instance(), []))
        with self.assertRaises(exceptions.InvalidParameter):
            metadata.config_drive(self.instance(), [], [("/etc/motd", b"hello")])

    def test_all_versions_and_files(self) -> None:
        instance = self.instance()
        instance.config_drive = "True"
        instance.keypairs = objects.KeyPairList(objects=[])
        instance.ec2_ids = objects.EC2Ids(
            instance_id="i-1", ami_id="ami-1", kernel_id="", ramdisk_id=""
        )
        instance.reservation_id, instance.ephemeral_key_uuid = "r-1", None
        instance.default_ephemeral_device = instance.default_swap_device = None
        instance.device_metadata = instance.numa_topology = instance.user_data = None
        instance.key_name = instance.key_data = instance.availability_zone = None
        instance.launch_index, instance.metadata, instance.project_id = 0, {"role": "web"}, "p"
        with (
            # These ask neutron and the database.
            mock.patch.object(security_group_api, "get_instance_security_groups", return_value=[]),
            mock.patch.object(objects.Instance, "get_bdms", return_value=[]),
        ):
            drive = metadata.config_drive(
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
