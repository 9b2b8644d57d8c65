# SPDX-License-Identifier: Apache-2.0
"""The cloud's service catalog, flavors, images and networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack

from tests import guests
from tests.cloud.layout import EXTERNAL_GATEWAY, EXTERNAL_NETWORK, Layout

#: Type, port and path of the services.
_SERVICES = {
    "glance": ("image", "glance", ""),
    "neutron": ("network", "neutron-api", ""),
    "nova": ("compute", "nova-api", "/v2.1"),
    "placement": ("placement", "placement", ""),
}
_ROLES = ("admin", "service")

#: Memory and swap in MiB, disks in GiB.
_FLAVORS: Mapping[str, Mapping[str, int]] = {
    "tiny": {"ram": 192, "disk": 1, "vcpus": 1},
    "small": {"ram": 256, "disk": 2, "vcpus": 2},
    "large": {"ram": 256, "disk": 1, "vcpus": 2, "ephemeral": 1, "swap": 64},
}
_EXTRA_SPECS: Mapping[str, Mapping[str, str]] = {
    "large": {"hw:vif_multiqueue_enabled": "true", "quota:disk_read_iops_sec": "1000"},
}

IMAGE = "guest"
AGENT_IMAGE = "guest-agent"
RESCUE_IMAGE = "guest-rescue"
IDE_IMAGE = "guest-ide"
IDE_RESCUE_IMAGE = "guest-ide-rescue"
#: Flavours of the guests on the images' disks; ``cloud`` for other images.
_DISKS = {IDE_RESCUE_IMAGE: "cloud-sata"}
#: Name of an image and of a flavor.
DEBIAN = "debian"
#: Properties of the images.
_IMAGES: Mapping[str, Mapping[str, str]] = {
    IMAGE: {},
    AGENT_IMAGE: {"hw_qemu_guest_agent": "yes", "os_require_quiesce": "yes"},
    RESCUE_IMAGE: {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"},
    IDE_IMAGE: {"hw_disk_bus": "ide", "hw_cdrom_bus": "ide"},
    IDE_RESCUE_IMAGE: {"hw_rescue_device": "disk", "hw_rescue_bus": "ide"},
}

EXTERNAL = "public"
TENANT = "private"
TENANT_NETWORK = "10.20.0.0/24"


def connect(cloud: Layout) -> Any:
    """Return a connection of the administrator."""
    return openstack.connect(load_yaml_config=False, load_envvars=False, **cloud.credentials())


def catalog(cloud: Layout) -> None:
    """Add the services to keystone, each one with an account."""
    identity = connect(cloud).identity
    if identity.find_service("nova"):
        return
    project = identity.create_project(name="service", domain_id="default")
    roles = [identity.find_role(name) or identity.create_role(name=name) for name in _ROLES]
    for name, (kind, port, path) in _SERVICES.items():
        user = identity.create_user(name=name, password=cloud.password, domain_id="default")
        for role in roles:
            identity.assign_project_role_to_user(project, user, role)
        service = identity.create_service(name=name, type=kind)
        for interface in ("public", "internal", "admin"):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=cloud.url(port, path),
                region_id="RegionOne",
            )


def resources(cloud: Layout) -> None:
    """Make flavors, images, the two networks and their router."""
    session = connect(cloud)
    if session.network.find_router("router"):
        return
    for name, sizes in _FLAVORS.items():
        made = session.compute.create_flavor(name=name, **sizes)
        if name in _EXTRA_SPECS:
            session.compute.create_flavor_extra_specs(made.id, dict(_EXTRA_SPECS[name]))
    for name, properties in _IMAGES.items():
        _upload(session, name, guests.build(_DISKS.get(name, "cloud")).disk, properties)
    network = session.network
    external = network.create_network(
        name=EXTERNAL,
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network="public",
    )
    network.create_subnet(
        network_id=external.id,
        ip_version=4,
        cidr=EXTERNAL_NETWORK,
        gateway_ip=EXTERNAL_GATEWAY,
        is_dhcp_enabled=False,
    )
    tenant = network.create_network(name=TENANT, is_shared=True)
    subnet = network.create_subnet(network_id=tenant.id, ip_version=4, cidr=TENANT_NETWORK)
    router = network.create_router(name="router", external_gateway_info={"network_id": external.id})
    network.add_interface_to_router(router, subnet_id=subnet.id)


def debian(session: Any) -> None:
    """Make the image and the flavor of a Debian with cloud-init, unless the cloud has them."""
    if not session.compute.find_flavor(DEBIAN):
        session.compute.create_flavor(name=DEBIAN, ram=512, disk=2, vcpus=1)
    if not session.image.find_image(DEBIAN):
        properties = {"hw_qemu_guest_agent": "yes", "os_admin_user": "debian"}
        _upload(session, DEBIAN, guests.debian(), properties)


def _upload(session: Any, name: str, disk: Path | None, properties: Mapping[str, str]) -> None:
    session.create_image(
        name,
        filename=str(disk),
        disk_format="qcow2",
        container_format="bare",
        visibility="public",
        validate_checksum=False,
        wait=True,
        **properties,
    )
