# SPDX-License-Identifier: Apache-2.0
"""What is done with each image property and extra spec that nova knows: one table.

``properties.PROPERTIES`` has those that describe the guest's hardware.  Here are all others: some
are no concern of whoever runs the guest, the rest is refused, so that nobody gets another guest
than the one that was asked for.

Sources: nova's ``objects/image_meta.py``; Nova, "Extra Specs".
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from compute_driver import exceptions
from compute_driver.hardware import properties

#: What another part of the cloud or another operation acts on, or what only another hypervisor
#: could, and which one.
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
    "os_distro": "whoever looks for a system",
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

#: What the conversion to a guest sees to, besides the hardware.
CONVERTED = frozenset(
    {"hw:vif_multiqueue_enabled", "hw_vif_multiqueue_enabled", "img_config_drive"}
)

#: Extra specs for the driver that have no scope.
_UNSCOPED = frozenset({"hide_hypervisor_id"})

_FALSE = ("false", "no", "0")

#: What is refused, and the values that ask for nothing but what every guest has.
REFUSED: Mapping[str, tuple[str, ...]] = {
    # Images
    "hw_ephemeral_encryption_secret_uuid": (),
    "hw_firmware_stateless": _FALSE,
    "hw_floppy_bus": (),
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
    # Flavors; the last patterns are whatever else nova may learn
    "accel:*": (),
    "hw:cpu_realtime": _FALSE,
    "pci_passthrough:*": (),
    "quota:*": (),
    "hw:*": (),
    "hw_*": (),
    "os:*": (),
    "driver:*": (),
}


def read(image: Mapping[str, str], extra_specs: Mapping[str, str]) -> properties.Hardware:
    """Return what an image and a flavor ask for of the hardware.

    :param image: properties that nova has recognised, by its own names.
    :param extra_specs: of the flavor.
    :raises InvalidParameter: if something is asked for that guests cannot have here.
    """
    pairs = {**_limits(image), **image, **of_flavor(extra_specs)}
    return properties.read(pair for pair in pairs.items() if _is_of_hardware(*pair))


def of_flavor(extra_specs: Mapping[str, str]) -> Mapping[str, str]:
    """Return those extra specs that are for the driver: what has no scope is the scheduler's."""
    return {name: value for name, value in extra_specs.items() if ":" in name or name in _UNSCOPED}


def _limits(image: Mapping[str, str]) -> Mapping[str, str]:
    """Return what holds unless the flavor says more: images get no memory that it does not give."""
    return {"hw_video:ram_max_mb": "0"} if "hw_video_ram" in image else {}


def _is_of_hardware(name: str, value: str) -> bool:
    if name in properties.PROPERTIES:
        return True
    if name not in CONVERTED and _pattern(name, UNCONCERNED) is None:
        _refuse(name, value)
    return False


def _refuse(name: str, value: str) -> None:
    pattern = _pattern(name, REFUSED)
    if pattern is None:
        return  # an extra spec of a scope of the operator's: the scheduler's
    harmless = REFUSED[pattern]
    if value.lower() not in harmless:
        accepted = f"{harmless[0]}, or leave it out" if harmless else "nothing: leave it out"
        raise exceptions.InvalidParameter(name, value, accepted)


def _pattern(name: str, table: Mapping[str, object]) -> str | None:
    if name in table:
        return name
    return next((pattern for pattern in table if fnmatch.fnmatchcase(name, pattern)), None)
