# SPDX-License-Identifier: Apache-2.0
"""What nova's metadata tells a guest of its devices: by which tag its user calls which address.

Sources: nova's ``objects/virt_device_metadata.py``; Nova, "Metadata", "Device tags".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nova import objects
from nova.objects import virt_device_metadata as metadata

from compute_driver.info import Device

#: Nova's classes of buses; others have no address that a guest could look for.
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
    """Record where those devices are that have a tag, or a VLAN.

    :param network_info: nova's VIFs.
    :param devices: of the instance's guest.
    """
    found = list(_describe(context, instance, network_info, devices))
    described = metadata.InstanceDeviceMetadata(devices=found) if found else None
    known = instance.obj_attr_is_set("device_metadata") and instance.device_metadata
    instance.device_metadata = described
    if described or known:
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
        if not tag and not vlan:
            continue
        if device.mac is not None:
            made = metadata.NetworkInterfaceMetadata(mac=device.mac, vf_trusted=False)
            if vlan:
                made.vlan = int(vlan)
        else:
            made = metadata.DiskMetadata(serial=None)
        if tag:
            made.tags = [tag]
        if device.bus in _BUSES:
            made.bus = _BUSES[device.bus]()
            if device.address:
                made.bus.address = device.address
        yield made


def _tags(context: Any, instance: Any) -> dict[str, str]:
    """Return the users' tags, by MAC address or by name of the disk."""
    vifs = objects.VirtualInterfaceList.get_by_instance_uuid(context, instance.uuid)
    disks = objects.BlockDeviceMappingList.get_by_instance_uuid(context, instance.uuid)
    tags = {vif.address.lower(): vif.tag for vif in vifs if "tag" in vif}
    tags |= {str(bdm.device_name).rpartition("/")[2]: bdm.tag for bdm in disks}
    return {name: tag for name, tag in tags.items() if tag}
