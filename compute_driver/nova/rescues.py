# SPDX-License-Identifier: Apache-2.0
"""From the image that is to rescue an instance to a :class:`~compute_driver.guest.Rescue`.

Sources: Nova, "Rescue an instance"; Glance, "Useful image properties".
"""

from __future__ import annotations

from typing import Any

from nova import exception as nova
from nova.image import glance
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskBus
from compute_driver.guest import ConfigDrive, DirectBoot, Guest, Rescue
from compute_driver.nova import convert

#: What devices an image can be in, by nova's words, and whether that is a CD-ROM drive.
_DEVICES = {"disk": False, "cdrom": True}


def rescue(
    conf: cfg.ConfigOpts, context: Any, guest: Guest, image: Any, drive: ConfigDrive | None
) -> Rescue:
    """Return the rescue of a guest by an image.

    The guest's disks keep their places if the image names the device or the bus of its own, which
    nova calls a stable device rescue.  A kernel is that of the image, or of nova's options, or the
    guest's own if the image is.

    :param image: nova's ImageMeta.
    :raises InstanceNotRescuable: nova's, if it asks for what cannot be.
    """
    said = image.properties
    device, bus = said.get("hw_rescue_device"), said.get("hw_rescue_bus")
    last = not (device is None and bus is None)
    try:
        if device is not None and device not in _DEVICES:
            raise exceptions.InvalidParameter("hw_rescue_device", device, _DEVICES)
        return Rescue(
            image=convert.disk_image(image.id, image.disk_format),
            boot=_boot(conf, context, guest, image, last),
            config_drive=drive,
            last=last,
            bus=_bus("hw_rescue_bus", bus) or _bus("hw_disk_bus", said.get("hw_disk_bus")),
            cdrom=None if device is None else _DEVICES[device],
        )
    except exceptions.InvalidParameter as error:
        raise nova.InstanceNotRescuable(instance_id=guest.uuid, reason=str(error)) from error


def _bus(name: str, word: str | None) -> DiskBus | None:
    return None if word is None else DiskBus.parse(name, word)


def _boot(
    conf: cfg.ConfigOpts, context: Any, guest: Guest, image: Any, last: bool
) -> DirectBoot | None:
    properties = glance.API().get(context, image.id)["properties"]
    kernel = properties.get("kernel_id") or conf.libvirt.rescue_kernel_id
    ramdisk = properties.get("ramdisk_id") or conf.libvirt.rescue_ramdisk_id
    if kernel:
        said = image.properties.get("os_command_line")
        if last and not said:
            accepted = "one that says where its system is, after the instance's disks"
            raise exceptions.InvalidParameter("os_command_line", said, accepted)
        root = convert.root_device_name(image, None)
        cmdline = convert.cmdline(guest.architecture, said, root)
        return DirectBoot(
            kernel=convert.boot_image(kernel),
            ramdisk=convert.boot_image(ramdisk) if ramdisk else None,
            cmdline=cmdline,
        )
    same = guest.image is not None and guest.image.location == convert.location(image.id)
    return guest.boot if same else None
