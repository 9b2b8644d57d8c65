# SPDX-License-Identifier: Apache-2.0
"""The devices in nova's metadata of an instance: a guest finds a device's address by its tag.

Sources: nova's ``objects/virt_device_metadata.py``; Nova, "Metadata", "Device tags".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nova import objects
from nova.objects import virt_device_metadata as metadata

from compute_driver.info import Device

#: Nova's classes of buses; a device on another bus has no address in the metadata.
_BUSES = {
    "pci": metadata.PCIDeviceBus,
    "scsi": metadata.SCSIDeviceBus,
    "ide": metadata.IDEDeviceBus,
    "usb": metadata.USBDeviceBus,
}


def update(
    context: Any,
    instance: Any,
    network_info: Sequence[Mapping[str, Any]],
    devices: Iterable[Device],
) -> None:
    """Store the devices that have a tag or a VLAN in an instance's metadata.

    :param network_info: nova's VIFs.
    :param devices: all devices of the instance's guest.
    """
    described = list(_describe(context, instance, network_info, devices))
    before = instance.obj_attr_is_set("device_metadata") and instance.device_metadata
    after = metadata.InstanceDeviceMetadata(devices=described) if described else None
    instance.device_metadata = after
    if before or after:
        instance.save()


def _describe(
    context: Any,
    instance: Any,
    network_info: Sequence[Mapping[str, Any]],
    devices: Iterable[Device],
) -> Iterator[Any]:
    tags = _tags(context, instance)
    vifs = {vif["address"].lower(): vif for vif in network_info}
    for device in devices:
        tag, vif = tags.get(device.mac or device.name), vifs.get(device.mac, {})
        vlan = (vif.get("details") or {}).get("vlan")
        if tag or vlan:
            yield _description(device, tag, vlan)


def _description(device: Device, tag: str | None, vlan: str | int | None) -> Any:
    if device.mac is None:
        description = metadata.DiskMetadata(serial=None)
    else:
        description = metadata.NetworkInterfaceMetadata(mac=device.mac, vf_trusted=False)
        if vlan:
            description.vlan = int(vlan)
    if tag:
        description.tags = [tag]
    if device.bus in _BUSES:
        description.bus = _BUSES[device.bus]()
        if device.address:
            description.bus.address = device.address
    return description


def _tags(context: Any, instance: Any) -> dict[str, str]:
    """Return the user's tags, by MAC address of the interface or by name of the disk."""
    vifs = objects.VirtualInterfaceList.get_by_instance_uuid(context, instance.uuid)
    disks = objects.BlockDeviceMappingList.get_by_instance_uuid(context, instance.uuid)
    tags = {vif.address.lower(): vif.tag for vif in vifs if "tag" in vif}
    tags |= {str(bdm.device_name).rpartition("/")[2]: bdm.tag for bdm in disks}
    return {name: tag for name, tag in tags.items() if tag}
