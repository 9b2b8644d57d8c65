# SPDX-License-Identifier: Apache-2.0
"""Nova's objects, options and loader in this process, without a cloud."""

from __future__ import annotations

import contextlib
import datetime
import functools
import inspect
import os
import tempfile
import unittest
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from nova import context, objects
from nova.conf import CONF
from nova.network import security_group_api
from nova.virt import driver, node, virtapi

NODE = "9f8d4d1c-63f0-4ad1-9f0a-b4d3c7a15d0e"
IMAGE = "5d9c7d4b-24d3-43f5-8b3c-5a8b0d3a4f10"
PORT = "b4f4d4a7-3a8f-4f0e-8df0-3f1d9b7f2a55"


class VirtAPI(virtapi.VirtAPI):  # type: ignore[misc]
    """Neutron's events come at once.

    :ivar waited: the names and tags of the events that a caller has waited for.
    """

    #: Nova's releases have different signatures.
    _SIGNATURE = inspect.signature(virtapi.VirtAPI.wait_for_instance_event)

    def __init__(self) -> None:
        self.waited: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def wait_for_instance_event(self, *arguments: Any, **named: Any) -> Iterator[None]:
        named_arguments = self._SIGNATURE.bind(self, *arguments, **named).arguments
        yield
        self.waited += named_arguments["event_names"]


@functools.cache
def configure() -> Path:
    """Configure nova once for this process; return nova's state directory."""
    home = tempfile.TemporaryDirectory(prefix="nova-")
    configure.home = home  # type: ignore[attr-defined] # the process removes it at its end
    path = Path(home.name)
    file = path / "nova.conf"
    file.write_text(
        "[DEFAULT]\ncompute_driver = compute_driver.NovaDriver\nmy_ip = 192.0.2.7\n"
        f"state_path = {path}\ninstances_path = {path}/instances\n"
        "reserved_host_memory_mb = 100\ncpu_allocation_ratio = 3.0\n"
        f"[hypervisor]\ndriver = {os.environ.get('COMPUTE_DRIVER_TEST_DRIVER', 'fake')}\n"
        "virt_type = qemu\n"
        "[vnc]\nserver_listen = 192.0.2.8\nserver_proxyclient_address = 192.0.2.9\n"
        "[spice]\nimage_compression = auto_lz\n"
        "[serial_console]\nenabled = true\nproxyclient_address = 192.0.2.10\n"
        "port_range = 11000:12000\n"
    )
    CONF([], project="nova", default_config_files=[str(file)])
    objects.register_all()
    node.write_local_node_uuid(NODE)
    return path


class NovaCase(unittest.TestCase):
    """A test with a driver that nova has loaded.

    :ivar vifs: the ports in nova's database.
    :ivar disks: the disks in nova's database.
    """

    def setUp(self) -> None:
        super().setUp()
        configure()
        self.context = context.RequestContext("user", "project", auth_token="token")
        self.virtapi = VirtAPI()
        self.driver = driver.load_compute_driver(self.virtapi)
        self.addCleanup(self.driver.cleanup_host, "host")
        self.vifs: list[Any] = []
        self.disks: list[Any] = []
        for kind, known in (
            (objects.VirtualInterfaceList, self.vifs),
            (objects.BlockDeviceMappingList, self.disks),
        ):
            patch = mock.patch.object(kind, "get_by_instance_uuid", return_value=known)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(objects.Instance, "save")
        self.saved = patch.start()
        self.addCleanup(patch.stop)

    def image(self, disk_format: str = "qcow2", **properties: Any) -> Any:
        """Return an ImageMeta like the compute manager's."""
        return objects.ImageMeta.from_dict(
            {"id": IMAGE, "disk_format": disk_format, "properties": properties}
        )

    def instance(self, **extra_specs: str) -> Any:
        """Return an instance that boots from an image."""
        flavor = objects.Flavor(
            id=1,
            name="m1",
            flavorid="1",
            vcpus=1,
            memory_mb=192,
            root_gb=1,
            ephemeral_gb=0,
            swap=0,
            extra_specs=extra_specs,
        )
        return objects.Instance(
            self.context,
            id=7,
            uuid=str(uuid.uuid4()),
            display_name="web",
            hostname="web",
            flavor=flavor,
            image_ref=IMAGE,
            kernel_id="",
            ramdisk_id="",
            system_metadata={"image_disk_format": "qcow2"},
            root_device_name="/dev/vda",
            trusted_certs=None,
            config_drive="",
            launched_at=None,
            project_id="project",
            user_id="user",
            created_at=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
            os_type=None,
            device_metadata=None,
            info_cache=None,
        )

    @contextlib.contextmanager
    def config_drive(self) -> Iterator[Any]:
        """Yield an instance with a config drive; answer for database and neutron in the block."""
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
            mock.patch.object(security_group_api, "get_instance_security_groups", return_value=[]),
            mock.patch.object(objects.Instance, "get_bdms", return_value=[]),
        ):
            yield instance

    def spawn(self, instance: Any, image: Any = None, vifs: Any = (), **more: Any) -> None:
        """Spawn an instance; the end of the test destroys it."""
        self.addCleanup(self.driver.destroy, self.context, instance, [])
        self.driver.spawn(
            self.context, instance, image or self.image(), [], None, {}, [*vifs], **more
        )
