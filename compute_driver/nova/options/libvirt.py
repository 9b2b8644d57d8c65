# SPDX-License-Identifier: Apache-2.0
"""Nova's options of group ``[libvirt]``.

Source: Nova, "Configuration options"; the readers of the options in nova's ``virt/libvirt``.
"""

from __future__ import annotations

from collections.abc import Mapping

from compute_driver.nova.options.rules import Rule, default_of, needless, refused, warned, works

_VOLUMES = "the driver has no volumes, and refuses instances with volumes"
_LIVE = "the driver has no live migration"
_LVM = "only for images_type lvm, which is refused"
_RBD = "only for images_type rbd, which is refused"
_RESIZE = "instances are resized on the same host only"
_LXC = "only for containers, which are refused"
_TPM = "the driver has no TPM, and refuses instances that ask for one"
_POWER = "the driver leaves the power of the host's processors alone"
_ENCRYPTION = "the driver does not encrypt the memory of guests"

_MOUNTS = ("ceph", "nfs", "quobyte", "smbfs", "vzstorage")

#: Options of volumes, with their defaults.
_OF_VOLUMES = {
    "ceph_mount_options": "",
    "iscsi_iface": "",
    "iser_use_multipath": "false",
    "nfs_mount_options": "",
    "num_aoe_discover_tries": "3",
    "num_iser_scan_tries": "5",
    "num_nvme_discover_tries": "5",
    "num_volume_scan_tries": "5",
    "quobyte_client_cfg": "",
    "rbd_secret_uuid": "",
    "smbfs_mount_options": "",
    "use_default_aio_mode_for_volumes": "false",
    "volume_enforce_multipath": "false",
    "volume_use_multipath": "false",
    "vzstorage_cache_path": "",
    "vzstorage_log_path": "/var/log/vstorage/%(cluster_name)s/nova.log.gz",
    "vzstorage_mount_group": "qemu",
    "vzstorage_mount_opts": "",
    "vzstorage_mount_perms": "0770",
    "vzstorage_mount_user": "stack",
}

#: Options of live migration, with their defaults.
_OF_LIVE_MIGRATION = {
    "bandwidth": "0",
    "completion_timeout": "800",
    "downtime": "500",
    "downtime_delay": "75",
    "downtime_steps": "10",
    "inbound_addr": "",
    "monitor_interval": "5",
    "parallel_connections": "1",
    "permit_auto_converge": "false",
    "permit_post_copy": "false",
    "scheme": "",
    "timeout_action": "abort",
    "tunnelled": "false",
    "uri": "",
    "with_native_tls": "false",
}

RULES: Mapping[str, Rule] = {
    "connection_uri": default_of("connection_uri"),
    "virt_type": default_of("virt_type", "kvm", "qemu", lack="the driver runs KVM and QEMU only"),
    # Processors
    "cpu_mode": works(
        "sets the default of [hypervisor] kvm_cpu_mode or tcg_cpu_models, unless it is custom"
    ),
    "cpu_models": works("sets the default of [hypervisor] cpu_models"),
    "cpu_model_extra_flags": default_of("cpu_features"),
    "cpu_power_governor_high": needless(_POWER),
    "cpu_power_governor_low": needless(_POWER),
    "cpu_power_management": warned(_POWER, "false"),
    "cpu_power_management_strategy": needless(_POWER),
    "realtime_scheduler_priority": needless("the driver refuses instances with real-time CPUs"),
    "tb_cache_size": default_of("tcg_translation_buffer_mib"),
    "num_intel_tdx_guests": warned(_ENCRYPTION, ""),
    "num_memory_encrypted_guests": warned(_ENCRYPTION, ""),
    # Machines and devices
    "hw_machine_type": works("the machine type of new instances whose image names none"),
    "num_pcie_ports": default_of("hotplug_ports"),
    "sysinfo_serial": works("the serial number in SMBIOS tables"),
    "mem_stats_period_seconds": default_of("memory_stats_seconds"),
    "rng_dev_path": warned("the random numbers of guests come from /dev/urandom", "/dev/urandom"),
    "swtpm_enabled": warned(_TPM, "false"),
    "swtpm_group": needless(_TPM),
    "swtpm_user": needless(_TPM),
    "supported_tpm_secret_security": needless(_TPM),
    "enabled_perf_events": warned("guests have no perf events", ""),
    "file_backed_memory": refused("the memory of guests is anonymous memory of the host", "0"),
    "pmem_namespaces": refused("the driver has no persistent memory", ""),
    "device_detach_attempts": default_of("detach_timeout"),
    "device_detach_timeout": default_of("detach_timeout"),
    # Interfaces
    "max_queues": default_of("nic_max_queues"),
    "rx_queue_size": default_of("nic_rx_queue_size"),
    "tx_queue_size": needless(
        "nova's own driver sets the size for vhost-user ports only, and the driver refuses these"
        " ports; QEMU's transmit queues of other ports always have 256 packets"
    ),
    "use_virtio_for_bridges": refused("cards are virtio unless the image names another", "true"),
    # Disks
    "disk_cachemodes": default_of("disk_cache_modes"),
    "hw_disk_discard": default_of("disk_discard"),
    "disk_prefix": warned("libvirt's names of disks begin with vd, sd or hd, by the bus", ""),
    "images_type": default_of(
        *("disk_format", "default", "qcow2", "raw", "flat"),
        lack="disks of guests are qcow2 and raw files",
    ),
    "images_rbd_ceph_conf": needless(_RBD),
    "images_rbd_glance_copy_poll_interval": needless(_RBD),
    "images_rbd_glance_copy_timeout": needless(_RBD),
    "images_rbd_glance_store_name": needless(_RBD),
    "images_rbd_pool": needless(_RBD),
    "rbd_connect_timeout": needless(_RBD),
    "rbd_destroy_volume_retries": needless(_RBD),
    "rbd_destroy_volume_retry_interval": needless(_RBD),
    "rbd_user": needless(_RBD),
    "images_volume_group": needless(_LVM),
    "sparse_logical_volumes": needless(_LVM),
    "volume_clear": needless(_LVM),
    "volume_clear_size": needless(_LVM),
    "images_address_space_limit": needless(
        "the driver inspects images without a program; [hypervisor] image_tool_memory_mib limits"
        " other programs"
    ),
    "images_cpu_time_limit": needless(
        "the driver inspects images without a program; [hypervisor] image_tool_cpu_seconds limits"
        " other programs"
    ),
    "inject_key": refused("the driver writes nothing into guests' disks", "false"),
    "inject_password": refused("the driver writes nothing into guests' disks", "false"),
    "inject_partition": refused("the driver writes nothing into guests' disks", "-2"),
    # Operations
    "wait_soft_reboot_seconds": default_of("soft_reboot_timeout"),
    "snapshot_compression": warned("snapshots are not compressed", "false"),
    "snapshot_image_format": works("the format of snapshots"),
    "snapshots_directory": works("snapshots wait there for their upload"),
    "rescue_image_id": needless("nova-compute itself chooses the image, and ignores the option"),
    "rescue_kernel_id": works("the kernel of rescue systems whose image names none"),
    "rescue_ramdisk_id": works("the ramdisk of rescue systems whose image names none"),
    "remote_filesystem_transport": needless(_RESIZE),
    "migration_inbound_addr": needless(_RESIZE),
    "uid_maps": needless(_LXC),
    "gid_maps": needless(_LXC),
    **{
        f"live_migration_{name}": warned(_LIVE, default)
        for name, default in _OF_LIVE_MIGRATION.items()
    },
    **{name: warned(_VOLUMES, default) for name, default in _OF_VOLUMES.items()},
    **{f"{name}_mount_point_base": needless(_VOLUMES) for name in _MOUNTS},
}
