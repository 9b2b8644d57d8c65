# SPDX-License-Identifier: Apache-2.0
"""From nova's objects to a :class:`~compute_driver.guest.Guest`.

Nova's objects are read by their attributes only; nothing here imports nova or acts.

Sources: nova's ``virt/block_device.py`` (disks), ``network/model.py`` (interfaces).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, InterfaceKind, NicModel
from compute_driver.guest import GIB, MIB, ConfigDrive, DirectBoot, Disk, Guest, Image, Interface
from compute_driver.hardware import architecture
from compute_driver.hardware.properties import Hardware, truth
from compute_driver.limits import Bandwidth
from compute_driver.nova import SCHEME, properties

#: Glance's ``disk_format`` words that are none of ours; nova itself accepts no image without one.
_FORMATS = {"ami": DiskFormat.RAW}

#: Properties of this project's own, which nova does not pass on with the others.
_OWN = ("hw_cpu_features", "hw_cpu_model")

#: What neutron's types of VIFs are plugged into.
_KINDS = {"bridge": InterfaceKind.BRIDGE, "ovs": InterfaceKind.OVS}

#: Its types of those that it could not or has yet to bind to this host.
_NOT_BOUND = frozenset({"unbound", "binding_failed"})

#: What names of neutron's bridges of trunks, one for each, begin with.
_TRUNK = "tbr-"

_MULTIQUEUE = ("hw_vif_multiqueue_enabled", "hw:vif_multiqueue_enabled")

#: How names of disks begin, by bus, where it is not "sd".
_DEVICES = {"virtio": "vd", "ide": "hd"}

#: What the kernel writes to where no firmware brings a console up, by architecture.
_CONSOLES = {"aarch64": "ttyAMA0", "armv7l": "ttyAMA0", "ppc64le": "hvc0", "s390x": "ttysclp0"}


def guest(
    instance: Any,
    image: Any,
    network_info: Sequence[Mapping[str, Any]],
    block_device_info: Mapping[str, Any] | None,
    config_drive: ConfigDrive | None = None,
) -> Guest:
    """Return the guest that an instance is.

    :param instance: nova's Instance, with its flavor.
    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    :param block_device_info: nova's disks.
    :raises InvalidParameter: if it asks for something that guests cannot have here.
    """
    flavor = instance.flavor
    said = _properties(instance, image)
    hardware = properties.read(said, flavor.extra_specs)
    guest_architecture = hardware.architecture or architecture.of_host()
    disks = block_device_info or {}
    if disks.get("block_device_mapping"):
        raise exceptions.InvalidParameter("block_device_mapping", "a volume", "local disks")
    return Guest(
        uuid=instance.uuid,
        name=instance.name,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mb,
        architecture=guest_architecture,
        cpu=hardware.cpu(flavor.vcpus),
        image=_image(instance, image),
        root=_root(instance, disks, hardware),
        ephemerals=tuple(_ephemerals(flavor, disks, hardware)),
        swap=_swap(flavor, disks, hardware),
        boot=_boot(instance, hardware, guest_architecture),
        config_drive=config_drive,
        interfaces=_interfaces(network_info, flavor, said, hardware),
        **hardware.devices(),
    )


def _properties(instance: Any, image: Any) -> dict[str, str]:
    """Return what the image says, by the names that nova gives it today."""
    known = image.properties
    said = {name: str(getattr(known, name)) for name in known.fields if known.obj_attr_is_set(name)}
    own = {name: instance.system_metadata.get(f"image_{name}") for name in _OWN}
    return {**said, **{name: value for name, value in own.items() if value}}


def _image(instance: Any, image: Any) -> Image | None:
    return disk_image(instance.image_ref, image.disk_format) if instance.image_ref else None


def location(image_id: str) -> str:
    """Return where an image of Glance's is, as :class:`Image` has it."""
    return f"{SCHEME}://{image_id}"


def disk_image(image_id: str, disk_format: str) -> Image:
    """Return an image of Glance's that is a disk.

    :param disk_format: Glance's word.
    :raises InvalidParameter: if it is none of what guests can have; names those.
    """
    return Image(
        location=location(image_id),
        format=_FORMATS.get(disk_format) or DiskFormat.parse("disk_format", disk_format),
    )


def cmdline(guest_architecture: str, said: str | None, root: str) -> str:
    """Return the command line of a kernel that is started directly.

    :param said: what the image says it is.
    :param root: the device that the system is on.
    """
    return said or f"root={root} console={_CONSOLES.get(guest_architecture, 'ttyS0')}"


def boot_image(image_id: str) -> Image:
    """Return an image of Glance's that is a kernel or a ramdisk."""
    return Image(location=location(image_id))


def _boot(instance: Any, hardware: Hardware, guest_architecture: str) -> DirectBoot | None:
    if not instance.kernel_id:
        return None
    ramdisk = instance.ramdisk_id
    return DirectBoot(
        kernel=boot_image(instance.kernel_id),
        ramdisk=boot_image(ramdisk) if ramdisk else None,
        cmdline=cmdline(guest_architecture, hardware.cmdline, instance.root_device_name),
    )


def _root(instance: Any, disks: Mapping[str, Any], hardware: Hardware) -> Disk:
    for image in disks.get("image") or ():
        return _disk("image", image, instance.flavor.root_gb * GIB, hardware)
    return Disk(size_bytes=instance.flavor.root_gb * GIB, bus=hardware.disk_bus)


def _ephemerals(flavor: Any, disks: Mapping[str, Any], hardware: Hardware) -> list[Disk]:
    asked = disks.get("ephemerals") or ()
    if not asked and flavor.ephemeral_gb:
        asked = ({"size": flavor.ephemeral_gb},)
    for each in asked:
        if each.get("guest_format") not in (None, "ext4"):
            raise exceptions.InvalidParameter("guest_format", each["guest_format"], "ext4")
    return [_disk("ephemeral", each, each["size"] * GIB, hardware) for each in asked]


def _swap(flavor: Any, disks: Mapping[str, Any], hardware: Hardware) -> Disk | None:
    asked = disks.get("swap") or {"swap_size": flavor.swap}
    size = asked["swap_size"] * MIB
    return _disk("swap", asked, size, hardware) if size else None


def _disk(field: str, asked: Mapping[str, Any], size: int, hardware: Hardware) -> Disk:
    """Return a local disk, on the bus that was asked for it or for all."""
    if asked.get("device_type") not in (None, "disk"):
        raise exceptions.InvalidParameter(f"{field} device_type", asked["device_type"], "disk")
    if asked.get("encrypted"):
        raise exceptions.InvalidParameter(f"{field} encrypted", True, "disks in the clear")
    bus = asked.get("disk_bus")
    return Disk(
        size_bytes=size, bus=DiskBus.parse(f"{field} disk_bus", bus) if bus else hardware.disk_bus
    )


def root_device_name(image: Any, asked: str | None) -> str:
    """Return what a guest is likely to call its root disk.

    :param image: nova's ImageMeta.
    :param asked: the bus that was asked for the disk.
    """
    bus = asked or image.properties.get("hw_disk_bus") or DiskBus.VIRTIO
    return f"/dev/{_DEVICES.get(bus, 'sd')}a"


def ports(
    instance: Any, image: Any, network_info: Sequence[Mapping[str, Any]]
) -> tuple[Interface, ...]:
    """Return the interfaces that an instance has by neutron's ports.

    :param instance: nova's Instance, with its flavor.
    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    :raises InvalidParameter: if one cannot be plugged in here.
    :raises PlugFailed: if neutron has not bound one to this host.
    """
    said = _properties(instance, image)
    hardware = properties.read(said, instance.flavor.extra_specs)
    return _interfaces(network_info, instance.flavor, said, hardware)


def _interfaces(
    network_info: Sequence[Mapping[str, Any]],
    flavor: Any,
    said: Mapping[str, str],
    hardware: Hardware,
) -> tuple[Interface, ...]:
    queues, bandwidth = _queues(flavor, said, hardware.nic_model), hardware.bandwidth()
    return tuple(_interface(vif, hardware.nic_model, queues, bandwidth) for vif in network_info)


def _interface(
    vif: Mapping[str, Any],
    model: NicModel | None,
    queues: int | None,
    bandwidth: Mapping[str, Bandwidth],
) -> Interface:
    if vif["type"] in _NOT_BOUND:
        raise exceptions.PlugFailed(f"port {vif['id']} is {vif['type']}: neutron has not bound it")
    if vif.get("vnic_type", "normal") != "normal":
        raise exceptions.InvalidParameter("binding:vnic_type", vif["vnic_type"], "normal")
    network = vif["network"]
    if str(network["bridge"]).startswith(_TRUNK):
        raise exceptions.InvalidParameter("port", f"{vif['id']}, of a trunk", "ports of no trunk")
    if vif["type"] not in _KINDS:
        raise exceptions.InvalidParameter("binding:vif_type", vif["type"], _KINDS)
    return Interface(
        kind=_KINDS[vif["type"]],
        source=network["bridge"],
        model=model,
        mac=vif["address"].lower(),
        device=vif.get("devname") or f"tap{vif['id']}"[:14],
        port=vif["id"],
        hybrid=bool((vif.get("details") or {}).get("ovs_hybrid_plug")),
        mtu=(network.get("meta") or {}).get("mtu"),
        queues=queues,
        inbound=bandwidth.get("inbound"),
        outbound=bandwidth.get("outbound"),
    )


def _queues(flavor: Any, said: Mapping[str, str], model: NicModel | None) -> int | None:
    """Return how many pairs of queues a card has: one for each processor, if so wished."""
    pairs = {**said, **properties.of_flavor(flavor.extra_specs)}
    wished = [truth(name, pairs[name]) for name in _MULTIQUEUE if name in pairs]
    if model not in (None, NicModel.VIRTIO) or not any(wished):
        return None
    return int(flavor.vcpus)
