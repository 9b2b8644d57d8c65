# SPDX-License-Identifier: Apache-2.0
"""The image properties and extra specs that nova has, in three tables.

:data:`compute_driver.hardware.properties.PROPERTIES` has the properties of the guest's hardware.
The tables here have all other properties.  A driver ignores some properties.  This driver refuses
the rest, so that a user never gets another guest than the guest of the request.

Sources: nova's ``objects/image_meta.py``; Nova, "Extra Specs".
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping

from compute_driver import exceptions
from compute_driver.hardware import properties

LOG = logging.getLogger(__name__)

#: The properties that the conversion to a guest ignores, and who uses the property: another part of
#: the cloud, another operation, or another hypervisor.
UNCONCERNED: Mapping[str, str] = {
    # Images
    "hw_auto_disk_config": "XenServer",
    "hw_device_id": "XenServer",
    "hw_disk_type": "VMware",
    "hw_rescue_bus": "rescue",
    "hw_rescue_device": "rescue",
    "img_bdm_v2": "nova-api",
    "img_bittorrent": "XenServer",
    "img_block_device_mapping": "nova-api",
    "img_cache_in_nova": "XenServer",
    "img_compression_level": "XenServer",
    "img_hv_requested_version": "nova-scheduler",
    "img_hv_type": "nova-scheduler",
    "img_linked_clone": "VMware",
    "img_mappings": "nova-api",
    "img_owner_id": "nova-api",
    "img_root_device_name": "nova-api",
    "img_signature": "nova's image API",
    "img_signature_certificate_uuid": "nova's image API",
    "img_signature_hash_method": "nova's image API",
    "img_signature_key_type": "nova's image API",
    "img_use_agent": "XenServer",
    "img_version": "nova-api",
    "os_admin_user": "set_admin_password",
    "os_require_quiesce": "snapshot",
    "os_skip_agent_inject_files_at_boot": "XenServer",
    "os_skip_agent_inject_ssh": "XenServer",
    "traits_required": "nova-scheduler",
    # Flavors
    "vmware:*": "VMware",
    "aggregate_instance_extra_specs:*": "nova-scheduler",
    "capabilities:*": "nova-scheduler",
    "group_policy": "nova-scheduler",
    "resources*:*": "nova-scheduler",
    "trait*:*": "nova-scheduler",
}

#: The properties that :mod:`compute_driver.nova.convert` and nova's config drive read.
CONVERTED = frozenset(
    {"hw:vif_multiqueue_enabled", "hw_vif_multiqueue_enabled", "img_config_drive"}
)

#: The property that gives no guest another device.  The in-tree driver takes disk bus and network
#: card from libosinfo's database, if Python's bindings are installed; this driver does not guess.
NO_DEFAULTS = "os_distro"

#: The properties that a user sets in place of :data:`NO_DEFAULTS`.
_EXPLICIT = ("hw_disk_bus", "hw_vif_model")

#: Extra specs for the driver without a scope.
_UNSCOPED = frozenset({"hide_hypervisor_id"})

_FALSE = ("false", "no", "0")

#: The refused properties, and the harmless values, which describe every guest.
REFUSED: Mapping[str, tuple[str, ...]] = {
    # Images
    "hw_ephemeral_encryption_secret_uuid": (),
    "hw_firmware_stateless": _FALSE,
    "hw_floppy_bus": ("fdc",),
    "hw_ipxe_boot": _FALSE,
    # Both
    **{
        f"hw{mark}{name}": harmless
        for mark in "_:"
        for name, harmless in {
            "cpu_policy": ("shared",),
            "cpu_realtime_mask": (),
            "cpu_thread_policy": (),
            "ephemeral_encryption": _FALSE,
            "ephemeral_encryption_format": (),
            "locked_memory": _FALSE,
            "maxphysaddr_bits": (),
            "maxphysaddr_mode": (),
            "mem_encryption": _FALSE,
            "mem_encryption_model": (),
            "mem_page_size": (),
            "numa_nodes": (),
            "pci_numa_affinity_policy": (),
            "redirected_usb_ports": ("0",),
            "tpm_model": (),
            "tpm_version": (),
            "viommu_model": (),
        }.items()
    },
    "hw_numa_cpus*": (),
    "hw_numa_mem*": (),
    # Flavors; the last patterns have the extra specs of later releases of nova
    "accel:*": (),
    "hw:cpu_realtime": _FALSE,
    "pci_passthrough:*": (),
    "quota:*": (),
    "hw:*": (),
    "hw_*": (),
    "os:*": (),
    "driver:*": (),
}


def read_wishes(image: Mapping[str, str], extra_specs: Mapping[str, str]) -> properties.Wishes:
    """Return the hardware that an image and a flavor describe.

    :param image: the image's properties, by nova's names.
    :param extra_specs: the flavor's extra specs.
    :raises InvalidParameter: if guests of this driver cannot have a property.
    """
    pairs = {**_limits(image), **image, **of_flavor(extra_specs)}
    return properties.read_wishes(pair for pair in pairs.items() if _is_of_hardware(*pair))


def explain_defaults(image: Mapping[str, str], instance: str) -> None:
    """Log which properties the image needs for other devices than the driver's defaults.

    :param image: the image's properties, by nova's names.
    :param instance: the instance's name.
    """
    missing = [name for name in _EXPLICIT if name not in image]
    if NO_DEFAULTS in image and missing:
        LOG.info(
            "Instance %s: %s=%s gives no defaults for devices; set %s of the image if the system"
            " has no virtio drivers",
            instance,
            NO_DEFAULTS,
            image[NO_DEFAULTS],
            " and ".join(missing),
        )


def of_flavor(extra_specs: Mapping[str, str]) -> Mapping[str, str]:
    """Return the extra specs for the driver; extra specs without a scope are for the scheduler."""
    return {name: value for name, value in extra_specs.items() if ":" in name or name in _UNSCOPED}


def _limits(image: Mapping[str, str]) -> Mapping[str, str]:
    """Return the default limits: an image gets only the video memory that the flavor allows."""
    return {"hw_video:ram_max_mb": "0"} if "hw_video_ram" in image else {}


def _is_of_hardware(name: str, value: str) -> bool:
    if name in properties.PROPERTIES:
        return True
    if name not in (*CONVERTED, NO_DEFAULTS) and _pattern(name, UNCONCERNED) is None:
        _refuse(name, value)
    return False


def _refuse(name: str, value: str) -> None:
    pattern = _pattern(name, REFUSED)
    if pattern is None:
        return  # an extra spec with the operator's own scope, for the scheduler
    harmless = REFUSED[pattern]
    if value.lower() not in harmless:
        accepted = f"{harmless[0]}, or leave it out" if harmless else "nothing: leave it out"
        raise exceptions.InvalidParameter(name, value, accepted)


def _pattern(name: str, table: Mapping[str, object]) -> str | None:
    if name in table:
        return name
    return next((pattern for pattern in table if fnmatch.fnmatchcase(name, pattern)), None)
