# SPDX-License-Identifier: Apache-2.0
"""Print the domain XML that nova's own libvirt driver writes for a guest under ``virt_type=qemu``.

An interpreter with nova 34 runs this program, which imports nothing of this project. All options of
nova have their defaults. Nova reads from the given libvirt, and starts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nova.monkey_patch  # before all else of nova

nova.monkey_patch.patch(backend="threading")

import nova.conf  # noqa: E402
import nova.conf.neutron  # noqa: E402
import nova.privsep  # noqa: E402
import os_vif  # noqa: E402
from nova import context, objects, rpc  # noqa: E402
from nova.network import model as network_model  # noqa: E402
from nova.virt import fake  # noqa: E402

CONF = nova.conf.CONF


def configure(state: Path, uri: str) -> None:
    """Set the options whose defaults do not work here.

    :param state: an empty directory.
    :param uri: of the libvirt to look at.
    """
    nova.conf.neutron.register_dynamic_opts(CONF)
    CONF([], project="nova", default_config_files=[])
    CONF.set_override("state_path", str(state))
    CONF.set_override("instances_path", str(state / "instances"))
    CONF.set_override("my_ip", "127.0.0.1")
    CONF.set_override("virt_type", "qemu", group="libvirt")
    CONF.set_override("connection_uri", uri, group="libvirt")
    rpc.init = lambda conf: None
    objects.register_all()
    os_vif.initialize()
    nova.privsep.sys_admin_pctxt.set_client_mode(False)


@contextlib.contextmanager
def no_database() -> Iterator[None]:
    """Let nova find nothing in its database, and save nothing; after :func:`configure`."""
    empty = mock.Mock(return_value=[])
    with (
        mock.patch.object(objects.InstanceList, "get_by_filters", empty),
        mock.patch.object(objects.VirtualInterfaceList, "get_by_instance_uuid", empty),
        mock.patch.object(objects.BlockDeviceMappingList, "get_by_instance_uuid", empty),
        mock.patch.object(objects.BlockDeviceMappingList, "get_by_instance_uuids", empty),
        mock.patch.object(objects.Instance, "save"),
    ):
        yield


def describe(name: str, uuid: str, memory_mib: int, vcpus: int) -> objects.Instance:
    """Return an instance that nova would boot from an image, on a bridge, with a config drive."""
    flavor = objects.Flavor(
        id=1, name="benchmark", flavorid="1", memory_mb=memory_mib, vcpus=vcpus, root_gb=1,
        ephemeral_gb=0, swap=0, extra_specs={}, rxtx_factor=1.0, vcpu_weight=0, disabled=False,
        is_public=True, description=None,
    )  # fmt: skip
    instance = objects.Instance(
        id=1, uuid=uuid, project_id="benchmark", user_id="benchmark", display_name=name,
        flavor=flavor, memory_mb=memory_mib, vcpus=vcpus, root_gb=1, ephemeral_gb=0,
        root_device_name=None, default_ephemeral_device=None, default_swap_device=None,
        config_drive="True", image_ref="00000000-0000-0000-0000-000000000002", kernel_id="",
        ramdisk_id="", os_type=None, vm_mode=None, architecture=None, numa_topology=None,
        pci_devices=objects.PciDeviceList(objects=[]),
        pci_requests=objects.InstancePCIRequests(requests=[]), vcpu_model=None, resources=None,
        system_metadata={}, metadata={}, launched_at=None, host="benchmark", node="benchmark",
        trusted_certs=None, device_metadata=None, hidden=False, key_data=None, access_ip_v4=None,
        access_ip_v6=None, ephemeral_key_uuid=None, created_at=None,
    )  # fmt: skip
    instance.obj_reset_changes(recursive=True)
    return instance


def network(mac: str) -> network_model.NetworkInfo:
    """Return one interface on Open vSwitch."""
    interface = network_model.VIF(
        id="00000000-0000-0000-0000-000000000001",
        address=mac,
        network=network_model.Network(
            id="00000000-0000-0000-0000-000000000000", bridge="br-int", subnets=[], mtu=1500
        ),
        type=network_model.VIF_TYPE_OVS,
        devname="tap0",
        vnic_type=network_model.VNIC_TYPE_NORMAL,
        details={network_model.VIF_DETAILS_PORT_FILTER: True},
        profile={},
        active=True,
    )
    return network_model.NetworkInfo([interface])


def generate(instance: objects.Instance, mac: str) -> str:
    """Return the XML by which nova's driver would spawn the instance."""
    from nova.virt.libvirt import blockinfo, driver
    from nova.virt.libvirt import utils as libvirt_utils

    nova_driver = driver.LibvirtDriver(fake.FakeVirtAPI())
    with no_database():
        nova_driver.init_host("benchmark")
        Path(libvirt_utils.get_instance_path(instance)).mkdir(parents=True)
        image = objects.ImageMeta.from_dict(
            {"disk_format": "qcow2", "container_format": "bare", "properties": {}}
        )
        disks = blockinfo.get_disk_info(CONF.libvirt.virt_type, instance, image)
        xml: str = nova_driver._get_guest_xml(
            context.get_admin_context(), instance, network(mac), disks, image
        )
    return xml


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="of the libvirt to look at")
    parser.add_argument("name", help="the guest's name")
    parser.add_argument("uuid", help="the guest's UUID")
    parser.add_argument("mac", help="its interface's address")
    parser.add_argument("memory", type=int, help="its memory in MiB")
    parser.add_argument("vcpus", type=int, help="its processors")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as state:
        configure(Path(state), arguments.uri)
        instance = describe(arguments.name, arguments.uuid, arguments.memory, arguments.vcpus)
        sys.stdout.write(generate(instance, arguments.mac))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    # At a plain exit, nova would wait for its threads, which wait for libvirt's events.
    os._exit(main())
