# SPDX-License-Identifier: Apache-2.0
"""Nova's objects become a :class:`~compute_driver.guest.Guest`.

This module reads attributes of nova's objects only: it does not import nova and changes nothing.

Sources: nova's ``virt/block_device.py`` (disks), ``network/model.py`` (interfaces).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, FileSystem, InterfaceKind, NicModel
from compute_driver.guest import GIB, MIB, ConfigDrive, DirectBoot, Disk, Guest, Image, Interface
from compute_driver.hardware import architecture
from compute_driver.hardware.properties import Wishes, truth
from compute_driver.limits import Bandwidth
from compute_driver.nova import SCHEME, properties

#: Glance's disk formats that :class:`DiskFormat` has under another name.
_FORMATS = {"ami": DiskFormat.RAW}

#: Image properties of this project; nova stores them with the instance only.
_OWN_PROPERTIES = ("hw_cpu_features", "hw_cpu_model")

#: Neutron's VIF types, and the kind of the guest's interface.
_KINDS = {"bridge": InterfaceKind.BRIDGE, "ovs": InterfaceKind.OVS}

#: Neutron's VIF types of ports that neutron has not bound to this host.
_NOT_BOUND = frozenset({"unbound", "binding_failed"})

#: The beginning of the name of a trunk's bridge; neutron makes a bridge for every trunk.
_TRUNK = "tbr-"

_MULTIQUEUE = ("hw_vif_multiqueue_enabled", "hw:vif_multiqueue_enabled")

#: The beginning of a disk's name in the guest, by bus; "sd" for other buses.
_DISK_NAMES = {"virtio": "vd", "ide": "hd"}

#: The kernel's console, by architecture; "ttyS0" for other architectures.
_CONSOLES = {"aarch64": "ttyAMA0", "armv7l": "ttyAMA0", "ppc64le": "hvc0", "s390x": "ttysclp0"}


def guest(
    instance: Any,
    image: Any,
    network_info: Sequence[Mapping[str, Any]],
    block_device_info: Mapping[str, Any] | None,
    config_drive: ConfigDrive | None = None,
    ephemeral_format: str | None = None,
) -> Guest:
    """Return an instance's guest.

    :param instance: nova's Instance, with its flavor.
    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    :param block_device_info: nova's disks.
    :param ephemeral_format: the file system of ephemeral disks whose description has none: nova's
        option ``default_ephemeral_format``.
    :raises InvalidParameter: if guests of this driver cannot have a part of the request.
    :raises PlugFailed: if neutron has not bound a port to this host.
    """
    flavor = instance.flavor
    hardware = properties.read_wishes(image_properties(instance, image), flavor.extra_specs)
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
        image=disk_image(instance.image_ref, image.disk_format) if instance.image_ref else None,
        root=_root(flavor, disks, hardware),
        ephemerals=_ephemerals(flavor, disks, hardware, ephemeral_format),
        swap=_swap(flavor, disks, hardware),
        boot=_boot(instance, hardware, guest_architecture),
        config_drive=config_drive,
        interfaces=interfaces(instance, image, network_info),
        **hardware.devices(),
    )


def image_properties(instance: Any, image: Any) -> dict[str, str]:
    """Return the image's properties; old names are replaced by nova's present names.

    :param instance: nova's Instance.
    :param image: nova's ImageMeta.
    """
    known = image.properties
    named = {
        name: str(getattr(known, name)) for name in known.fields if known.obj_attr_is_set(name)
    }
    own = {name: instance.system_metadata.get(f"image_{name}") for name in _OWN_PROPERTIES}
    return {**named, **{name: value for name, value in own.items() if value}}


def location(image_id: str) -> str:
    """Return the location of an image of Glance, for :class:`Image`."""
    return f"{SCHEME}://{image_id}"


def disk_image(image_id: str, disk_format: str) -> Image:
    """Return an image of Glance that is a disk.

    :param disk_format: Glance's name of the format.
    :raises InvalidParameter: if guests cannot have the format; names the accepted formats.
    """
    return Image(
        location=location(image_id),
        format=_FORMATS.get(disk_format) or DiskFormat.parse("disk_format", disk_format),
    )


def boot_image(image_id: str) -> Image:
    """Return an image of Glance that is a kernel or a ramdisk."""
    return Image(location=location(image_id))


def direct_boot(
    kernel_id: str, ramdisk_id: str | None, cmdline: str | None, guest_architecture: str, root: str
) -> DirectBoot:
    """Return the boot of a kernel of Glance without a boot loader.

    :param kernel_id: the kernel's image.
    :param ramdisk_id: the ramdisk's image; empty or None without a ramdisk.
    :param cmdline: the kernel's command line; empty or None for the usual command line.
    :param guest_architecture: the guest's architecture, which names the console.
    :param root: the guest's name of the disk with the operating system.
    """
    console = _CONSOLES.get(guest_architecture, "ttyS0")
    return DirectBoot(
        kernel=boot_image(kernel_id),
        ramdisk=boot_image(ramdisk_id) if ramdisk_id else None,
        cmdline=cmdline or f"root={root} console={console}",
    )


def _boot(instance: Any, hardware: Wishes, guest_architecture: str) -> DirectBoot | None:
    if not instance.kernel_id:
        return None
    return direct_boot(
        instance.kernel_id,
        instance.ramdisk_id,
        hardware.cmdline,
        guest_architecture,
        instance.root_device_name,
    )


def _root(flavor: Any, disks: Mapping[str, Any], hardware: Wishes) -> Disk:
    description: Mapping[str, Any] = next(iter(disks.get("image") or ()), {})
    return _disk("image", description, flavor.root_gb * GIB, hardware)


def _ephemerals(
    flavor: Any, disks: Mapping[str, Any], hardware: Wishes, default_format: str | None
) -> tuple[Disk, ...]:
    descriptions = disks.get("ephemerals") or ()
    if not descriptions and flavor.ephemeral_gb:
        descriptions = ({"size": flavor.ephemeral_gb},)
    return tuple(
        dataclasses.replace(
            _disk("ephemeral", description, description["size"] * GIB, hardware),
            filesystem=_filesystem(description.get("guest_format") or default_format),
        )
        for description in descriptions
    )


def _filesystem(guest_format: str | None) -> FileSystem | None:
    return FileSystem.parse("guest_format", guest_format) if guest_format else None


def _swap(flavor: Any, disks: Mapping[str, Any], hardware: Wishes) -> Disk | None:
    description = disks.get("swap") or {"swap_size": flavor.swap}
    size = description["swap_size"] * MIB
    return _disk("swap", description, size, hardware) if size else None


def _disk(kind: str, description: Mapping[str, Any], size: int, hardware: Wishes) -> Disk:
    """Return a local disk, on the bus of its description or on the bus of the image's disks."""
    if description.get("device_type") not in (None, "disk"):
        value = description["device_type"]
        raise exceptions.InvalidParameter(f"{kind} device_type", value, "disk")
    if description.get("encrypted"):
        raise exceptions.InvalidParameter(f"{kind} encrypted", True, "disks without encryption")
    bus = description.get("disk_bus")
    return Disk(
        size_bytes=size, bus=DiskBus.parse(f"{kind} disk_bus", bus) if bus else hardware.disk_bus
    )


def root_device_name(image: Any, bus: str | None) -> str:
    """Return a likely name of the root disk in the guest.

    :param image: nova's ImageMeta.
    :param bus: the root disk's bus; None for the bus of the image's disks.
    """
    bus = bus or image.properties.get("hw_disk_bus") or DiskBus.VIRTIO
    return f"/dev/{_DISK_NAMES.get(bus, 'sd')}a"


def interfaces(
    instance: Any, image: Any, network_info: Sequence[Mapping[str, Any]]
) -> tuple[Interface, ...]:
    """Return the guest's interfaces for neutron's ports.

    :param instance: nova's Instance, with its flavor.
    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    :raises InvalidParameter: if this driver cannot plug a port.
    :raises PlugFailed: if neutron has not bound a port to this host.
    """
    of_image, extra_specs = image_properties(instance, image), instance.flavor.extra_specs
    hardware = properties.read_wishes(of_image, extra_specs)
    pairs = {**of_image, **properties.of_flavor(extra_specs)}
    queues = _queues(pairs, hardware.nic_model, instance.flavor.vcpus)
    bandwidth = hardware.bandwidth()
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


def _queues(pairs: Mapping[str, str], model: NicModel | None, vcpus: int) -> int | None:
    """Return an interface's number of queue pairs: the number of vCPUs, if multiqueue is on.

    :param pairs: image properties and extra specs.
    """
    enabled = [truth(name, pairs[name]) for name in _MULTIQUEUE if name in pairs]
    return vcpus if any(enabled) and model in (None, NicModel.VIRTIO) else None
