# SPDX-License-Identifier: Apache-2.0
"""The services' configuration, file by file, as data."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from tests.cloud.install import NOVA_RELEASES, OLD_RELEASES
from tests.cloud.layout import ADDRESS, EXTERNAL_BRIDGE, PORTS, Layout

#: Sections of options, by their names.
Ini = Mapping[str, Mapping[str, Any]]

#: Nova's own driver and the driver under test: values of nova's option ``compute_driver``.
IN_TREE = "libvirt.LibvirtDriver"
DRIVER = os.environ.get("COMPUTE_DRIVER_CLOUD_DRIVER", "compute_driver.NovaDriver")

_PRIVSEP_NEUTRON = (
    "privsep",
    "privsep_conntrack",
    "privsep_dhcp_release",
    "privsep_link",
    "privsep_namespace",
    "privsep_ovs_vsctl",
)
_PRIVSEP_NOVA = (
    "nova_sys_admin",
    "privsep_osbrick",
    "vif_plug_ovs_privileged",
)


def render(ini: Ini) -> str:
    """Return the text of a configuration file."""
    lines = []
    for section, options in ini.items():
        lines.append(f"[{section}]")
        for name, value in options.items():
            lines.append(f"{name} = {str(value).lower() if isinstance(value, bool) else value}")
    return "\n".join(lines) + "\n"


def files(cloud: Layout, nova: str = NOVA_RELEASES[0]) -> dict[str, str]:
    """Return the text of all files but nova-compute's, by their paths below ``etc``.

    :param nova: release of nova-compute
    """
    made = {
        "keystone/keystone.conf": _keystone(cloud),
        "placement/placement.conf": _placement(cloud),
        "glance/glance-api.conf": _glance(cloud),
        "neutron/neutron.conf": _neutron(cloud),
        "neutron/ml2_conf.ini": _ML2,
        "neutron/openvswitch_agent.ini": _openvswitch_agent(cloud),
        "neutron/dhcp_agent.ini": _agent(cloud, enable_isolated_metadata=True),
        "neutron/l3_agent.ini": _agent(cloud, agent_mode="legacy"),
        "neutron/metadata_agent.ini": _metadata_agent(cloud),
        "nova/nova.conf": _nova_with_database(cloud, nova),
    }
    return {name: render(ini) for name, ini in made.items()} | {
        "rabbitmq/rabbitmq.conf": _rabbitmq(cloud),
        "rabbitmq/enabled_plugins": "[].\n",
    }


def compute_files(cloud: Layout, driver: str, extra: str = "") -> dict[str, str]:
    """Return the text of nova-compute's files; later files take precedence.

    :param driver: nova's option ``compute_driver``
    :param extra: text of the last file
    """
    return {
        # nova-compute refuses a configuration with a database.
        "nova/nova-cpu.conf": render(_nova(cloud)),
        "nova/nova-compute.conf": render(_compute(cloud, driver)),
        "nova/extra.conf": extra,
    }


def database(cloud: Layout, name: str) -> str:
    """Return a database's URL for SQLAlchemy."""
    account = f"openstack:{cloud.password}@localhost"
    socket = f"unix_socket={cloud.database_socket}"
    return f"mysql+pymysql://{account}/{name}?charset=utf8&{socket}"


def _database(cloud: Layout, name: str) -> dict[str, str]:
    return {"connection": database(cloud, name)}


def _account(cloud: Layout, user: str) -> dict[str, str]:
    return {
        "auth_url": cloud.url("keystone", "/v3"),
        "auth_type": "password",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "project_name": "service",
        "region_name": "RegionOne",
        "username": user,
        "password": cloud.password,
    }


def _api(cloud: Layout, user: str) -> dict[str, str]:
    return {
        **_account(cloud, user),
        "www_authenticate_uri": cloud.url("keystone", "/v3"),
        "memcached_servers": _memcached(),
    }


def _memcached() -> str:
    return f"{ADDRESS}:{PORTS['memcached']}"


def _cache() -> dict[str, Any]:
    servers = {"memcache_servers": _memcached()}
    return {"enabled": True, "backend": "dogpile.cache.memcached", **servers}


def _transport(cloud: Layout) -> str:
    return f"rabbit://openstack:{cloud.password}@{ADDRESS}:{PORTS['rabbitmq']}/"


def _privsep(cloud: Layout, contexts: Iterable[str], venv: str, *names: str) -> dict[str, Any]:
    """Return options of oslo.privsep without sudo, as all services run as root."""
    words = [f"{cloud.state}/{venv}/bin/privsep-helper"]
    words += [f"--config-file {cloud.etc}/{name}" for name in names]
    return {context: {"helper_command": " ".join(words)} for context in contexts}


def _rabbitmq(cloud: Layout) -> str:
    lines = [
        f"listeners.tcp.1 = {ADDRESS}:{PORTS['rabbitmq']}",
        "default_user = openstack",
        f"default_pass = {cloud.password}",
        "log.console = true",
        "log.file = false",
    ]
    return "\n".join(lines) + "\n"


def _keystone(cloud: Layout) -> Ini:
    return {
        "DEFAULT": {"log_file": f"{cloud.log}/keystone.log"},
        "database": _database(cloud, "keystone"),
        "token": {"provider": "fernet", "expiration": 43200},
        "fernet_tokens": {"key_repository": f"{cloud.state}/keystone/fernet-keys"},
        "credential": {"key_repository": f"{cloud.state}/keystone/credential-keys"},
        "cache": _cache(),
        # The lowest number: each token costs a hash.
        "identity": {"password_hash_algorithm": "bcrypt", "password_hash_rounds": 4},
    }


def _placement(cloud: Layout) -> Ini:
    return {
        "DEFAULT": {"log_file": f"{cloud.log}/placement.log"},
        "api": {"auth_strategy": "keystone"},
        "placement_database": _database(cloud, "placement"),
        "keystone_authtoken": _api(cloud, "placement"),
    }


def _glance(cloud: Layout) -> Ini:
    store = f"{cloud.state}/glance"
    return {
        "DEFAULT": {
            "log_file": f"{cloud.log}/glance.log",
            "enabled_backends": "file:file",
            "worker_self_reference_url": cloud.url("glance"),
        },
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": f"{store}/images"},
        "os_glance_staging_store": {"filesystem_store_datadir": f"{store}/staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": f"{store}/tasks"},
        "database": _database(cloud, "glance"),
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": f"{cloud.control_venv}/etc/glance/glance-api-paste.ini",
        },
        "keystone_authtoken": _api(cloud, "glance"),
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def _neutron(cloud: Layout) -> Ini:
    quotas = ("network", "subnet", "port", "router", "floatingip", "security_group")
    return {
        "DEFAULT": {
            "host": platform.node(),
            "state_path": f"{cloud.state}/neutron",
            "core_plugin": "ml2",
            "service_plugins": "router",
            "transport_url": _transport(cloud),
            "auth_strategy": "keystone",
            "api_paste_config": f"{cloud.control_venv}/etc/neutron/api-paste.ini",
            "bind_host": ADDRESS,
            "api_workers": 1,
            "rpc_response_timeout": 15,
            "rpc_workers": 1,
            "rpc_state_report_workers": 0,
            "send_events_interval": 1,
        },
        "agent": {"root_helper": "/usr/bin/env", "root_helper_daemon": ""},
        "oslo_concurrency": {"lock_path": f"{cloud.state}/neutron/lock"},
        "database": _database(cloud, "neutron"),
        "keystone_authtoken": _api(cloud, "neutron"),
        "nova": _account(cloud, "nova"),
        "placement": _account(cloud, "placement"),
        "quotas": {f"quota_{name}": -1 for name in (*quotas, "security_group_rule")},
        "oslo_messaging_notifications": {"driver": "noop"},
        **_privsep(cloud, _PRIVSEP_NEUTRON, "control-venv", "neutron/neutron.conf"),
    }


_SECURITY_GROUPS = {"enable_security_group": True, "firewall_driver": "openvswitch"}

_ML2: Ini = {
    "ml2": {
        "type_drivers": "flat,vxlan",
        "tenant_network_types": "vxlan",
        "mechanism_drivers": "openvswitch",
        "extension_drivers": "port_security",
    },
    "ml2_type_flat": {"flat_networks": "public"},
    "ml2_type_vxlan": {"vni_ranges": "1000:5000"},
    "securitygroup": _SECURITY_GROUPS,
}


def _ovs(cloud: Layout) -> dict[str, str]:
    # Not every kernel has Open vSwitch's module, so Open vSwitch runs in user space.
    return {"ovsdb_connection": cloud.ovs_connection, "datapath_type": "netdev"}


def _openvswitch_agent(cloud: Layout) -> Ini:
    return {
        "ovs": {
            **_ovs(cloud),
            "bridge_mappings": f"public:{EXTERNAL_BRIDGE}",
            "local_ip": ADDRESS,
            "of_listen_address": ADDRESS,
            "of_listen_port": PORTS["openflow"],
        },
        "agent": {"tunnel_types": "vxlan", "polling_interval": 1},
        "securitygroup": _SECURITY_GROUPS,
    }


def _agent(cloud: Layout, **options: object) -> Ini:
    return {"DEFAULT": {"interface_driver": "openvswitch", **options}, "ovs": _ovs(cloud)}


def _metadata_agent(cloud: Layout) -> Ini:
    return {
        "DEFAULT": {
            "nova_metadata_host": ADDRESS,
            "nova_metadata_port": PORTS["nova-metadata"],
            "metadata_proxy_shared_secret": cloud.password,
            "metadata_workers": 1,
        }
    }


def _nova(cloud: Layout) -> Ini:
    service = _account(cloud, "nova")
    return {
        "DEFAULT": {
            "host": platform.node(),
            "my_ip": ADDRESS,
            "state_path": f"{cloud.state}/nova",
            "transport_url": _transport(cloud),
            "allow_resize_to_same_host": True,
            "graceful_shutdown_timeout": 5,
            # Nova keeps a deleted server for an hour, unless the deletion is by force.
            "reclaim_instance_interval": 3600,
        },
        "api": {"auth_strategy": "keystone"},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2},
        "keystone_authtoken": _api(cloud, "nova"),
        "service_user": {**service, "send_service_user_token": True},
        "placement": _account(cloud, "placement"),
        "neutron": {
            **_account(cloud, "neutron"),
            "service_metadata_proxy": True,
            "metadata_proxy_shared_secret": cloud.password,
            "default_floating_pool": "public",
        },
        "glance": {"endpoint_override": cloud.url("glance")},
        "cache": _cache(),
        "oslo_concurrency": {"lock_path": f"{cloud.state}/nova/lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "quota": {"instances": -1, "cores": -1, "ram": -1},
        "vnc": {
            "enabled": True,
            "server_listen": ADDRESS,
            "server_proxyclient_address": ADDRESS,
            "novncproxy_host": ADDRESS,
            "novncproxy_port": PORTS["nova-novncproxy"],
            "novncproxy_base_url": cloud.url("nova-novncproxy", "/vnc_lite.html"),
        },
        # A test that needs SPICE enables it.
        "spice": {
            "server_listen": ADDRESS,
            "server_proxyclient_address": ADDRESS,
            "html5proxy_host": ADDRESS,
            "html5proxy_port": PORTS["nova-spicehtml5proxy"],
            "html5proxy_base_url": cloud.url("nova-spicehtml5proxy", "/spice_auto.html"),
        },
        "serial_console": {
            "enabled": True,
            "proxyclient_address": ADDRESS,
            "serialproxy_host": ADDRESS,
            "serialproxy_port": PORTS["nova-serialproxy"],
            "base_url": f"ws://{ADDRESS}:{PORTS['nova-serialproxy']}/",
        },
    }


def _nova_with_database(cloud: Layout, nova: str) -> Ini:
    old = OLD_RELEASES.get(nova)
    return {
        **_nova(cloud),
        **({"upgrade_levels": {"compute": old}} if old else {}),
        # Nova supports nova-compute of one release before; this option allows two releases before.
        "workarounds": {"disable_compute_service_check_for_ffu": True},
        "api_database": _database(cloud, "nova_api"),
        "database": _database(cloud, "nova_cell1"),
    }


def _compute(cloud: Layout, driver: str) -> Ini:
    own = ("nova/nova-cpu.conf", "nova/nova-compute.conf")
    return {
        "DEFAULT": {
            "compute_driver": driver,
            # The log line of a ready nova-compute is a debug message.
            "debug": True,
            "instances_path": f"{cloud.state}/nova/instances",
            "cpu_allocation_ratio": 16.0,
            "ram_allocation_ratio": 4.0,
            "disk_allocation_ratio": 4.0,
            "vif_plugging_timeout": 120,
            "shutdown_timeout": 30,
            # xorriso's program, for config drives of nova's own driver.
            "mkisofs_cmd": "xorrisofs",
        },
        # The libvirt of this project's driver, and of nova's own.
        "hypervisor": {
            "connection_uri": cloud.libvirt.uri,
            "virt_type": "qemu",
            "state_path": f"{cloud.state}/compute-driver",
        },
        "libvirt": {"connection_uri": cloud.libvirt.uri, "virt_type": "qemu"},
        "os_vif_ovs": {"ovsdb_connection": cloud.ovs_connection},
        **_privsep(cloud, _PRIVSEP_NOVA, "compute-venv", *own),
    }
