# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: an instance boots another image to be repaired.

Sources: Nova, "Rescue an instance"; Glance, "Useful image properties".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova import exception
from nova.image import glance
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import DiskBus
from compute_driver.guest import ConfigDrive, DirectBoot, Guest, Rescue
from compute_driver.nova import config_drive, convert, images
from compute_driver.nova.errors import replaced
from compute_driver.nova.section import Section

#: Nova's rescue devices, and whether the device is a CD-ROM drive.
_DEVICES = {"disk": False, "cdrom": True, "floppy": False}

#: Nova's buses of the devices of an image that names no bus; the machine has one for CD-ROM drives.
_BUSES = {"disk": DiskBus.VIRTIO, "cdrom": None, "floppy": DiskBus.FDC}


class RescueMethods(Section):
    """Starts and ends rescues."""

    def rescue(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        image_meta: Any,
        rescue_password: str,
        block_device_info: Mapping[str, Any],
        share_info: Any,
    ) -> None:
        guest = self._driver.show(instance.uuid).guest
        drive = config_drive.build(instance, network_info, (), rescue_password)
        rescue = describe_rescue(self._conf, context, guest, image_meta, drive)
        with images.requested_by(context, instance.trusted_certs):
            self._driver.rescue(instance.uuid, rescue, timeout=0)

    def unrescue(self, context: Any, instance: Any) -> None:
        if self._driver.show(instance.uuid).guest.rescue is not None:
            self._driver.unrescue(instance.uuid)


def describe_rescue(
    conf: cfg.ConfigOpts, context: Any, guest: Guest, image: Any, drive: ConfigDrive | None
) -> Rescue:
    """Return the rescue of a guest by an image.

    If the image names a rescue device or a rescue bus, the rescue disk is the last disk and the
    guest's disks keep their places: nova's stable device rescue.  The image or nova's options name
    the kernel.  A guest that is rescued by its own image starts its own kernel.

    :param context: nova's RequestContext.
    :param image: nova's ImageMeta.
    :param drive: the config drive of the rescue system.
    :raises InstanceNotRescuable: nova's, if the guest cannot boot the image.
    """
    device = image.properties.get("hw_rescue_device")
    bus = image.properties.get("hw_rescue_bus")
    stable = device is not None or bus is not None
    with replaced(
        exceptions.InvalidParameter,
        lambda text: exception.InstanceNotRescuable(instance_id=guest.uuid, reason=text),
    ):
        if device is not None and device not in _DEVICES:
            raise exceptions.InvalidParameter("hw_rescue_device", device, _DEVICES)
        return Rescue(
            image=convert.disk_image(image.id, image.disk_format),
            boot=_boot(conf, context, guest, image, stable),
            config_drive=drive,
            last=stable,
            bus=_bus(image, device or ("cdrom" if image.disk_format == "iso" else "disk")),
            cdrom=None if device is None else _DEVICES[device],
        )


def _bus(image: Any, device: str) -> DiskBus | None:
    """Return the bus of the rescue device, or else the image's bus of such devices.

    The rescue image alone decides: its system may lack a driver for the bus of the guest's disks.
    """
    for name in ("hw_rescue_bus", f"hw_{device}_bus"):
        word = image.properties.get(name)
        if word is not None and device != "floppy":
            return DiskBus.parse(name, word)
        if word not in (None, DiskBus.FDC):
            raise exceptions.InvalidParameter(name, word, str(DiskBus.FDC))
    return _BUSES[device]


def _boot(
    conf: cfg.ConfigOpts, context: Any, guest: Guest, image: Any, stable: bool
) -> DirectBoot | None:
    properties = glance.API().get(context, image.id)["properties"]
    kernel, ramdisk = properties.get("kernel_id"), properties.get("ramdisk_id")
    if not kernel:  # a ramdisk has the modules of its own kernel
        kernel = conf.libvirt.rescue_kernel_id
        ramdisk = ramdisk or conf.libvirt.rescue_ramdisk_id
    if kernel:
        cmdline = image.properties.get("os_command_line")
        if stable and not cmdline:
            accepted = "a command line that names the rescue system's disk, the last one"
            raise exceptions.InvalidParameter("os_command_line", cmdline, accepted)
        root = convert.root_device_name(image, None)
        return convert.direct_boot(kernel, ramdisk, cmdline, guest.architecture, root)
    own = guest.image is not None and guest.image.location == convert.location(image.id)
    return guest.boot if own else None
