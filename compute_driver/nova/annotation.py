# SPDX-License-Identifier: Apache-2.0
"""Nova's element of a domain's metadata, from which other programs learn about the instance.

Ceilometer, exporters for Prometheus and operators' scripts read the element; nova's own driver
writes it in the same form.

Source: nova's ``virt/libvirt/config.py``, the classes ``LibvirtConfigGuestMeta...``, and
``doc/api_schemas`` of nova's domain metadata, version 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lxml import etree
from nova import version

from compute_driver.nova import convert
from compute_driver.xml.elements import Element, maker

NAMESPACE = "http://openstack.org/xmlns/libvirt/nova/1.1"

_N = maker(NAMESPACE, "nova")

#: Elements of the image, by nova's field of ImageMeta.
_IMAGE_FIELDS = {
    "container_format": "containerFormat",
    "disk_format": "diskFormat",
    "min_disk": "minDisk",
    "min_ram": "minRam",
}

#: Elements of the flavor, by nova's field of Flavor.
_FLAVOR_FIELDS = {
    "memory_mb": "memory",
    "root_gb": "disk",
    "swap": "swap",
    "ephemeral_gb": "ephemeral",
    "vcpus": "vcpus",
}


def of(instance: Any, image: Any, network_info: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return an instance's annotations, for :class:`compute_driver.guest.Guest`.

    The same instance always gives the same text: the time in the element is when the instance was
    created.

    :param instance: nova's Instance, with its flavor.
    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    """
    element = _N.instance(
        _N.package(version=version.version_string_with_package()),
        _N.name(instance.display_name or instance.uuid),
        *_creation_time(instance),
        _flavor(instance.flavor),
        _image(instance, image),
        _owner(instance),
        *_root(instance),
        _N.ports(*map(_port, network_info)),
    )
    return (etree.tostring(element, encoding="unicode"),)


def _creation_time(instance: Any) -> Iterator[Element]:
    if instance.created_at is not None:
        yield _N.creationTime(instance.created_at.strftime("%Y-%m-%d %H:%M:%S"))


def _flavor(flavor: Any) -> Element:
    return _N.flavor(
        {"name": flavor.name, "id": flavor.flavorid},
        *(_N(tag, str(getattr(flavor, field))) for field, tag in _FLAVOR_FIELDS.items()),
        _named("extraSpecs", "extraSpec", flavor.extra_specs or {}),
    )


def _image(instance: Any, image: Any) -> Element:
    fields = {
        tag: getattr(image, field)
        for field, tag in _IMAGE_FIELDS.items()
        if image.obj_attr_is_set(field)
    }
    return _N.image(
        {"uuid": _image_id(instance)},
        *(_N(tag, str(value)) for tag, value in fields.items() if value is not None),
        _named("properties", "property", convert.image_properties(instance, image)),
    )


def _image_id(instance: Any) -> str:
    # The image of a shelved instance is a snapshot; nova keeps the original image's identity.
    known = instance.system_metadata or {}
    return str(known.get("image_base_image_ref") or instance.image_ref or "")


def _owner(instance: Any) -> Element:
    known = instance.system_metadata or {}
    return _N.owner(
        _N.user(known.get("owner_user_name", "N/A"), uuid=instance.user_id),
        _N.project(known.get("owner_project_name", "N/A"), uuid=instance.project_id),
    )


def _root(instance: Any) -> Iterator[Element]:
    if image_id := _image_id(instance):
        yield _N.root(type="image", uuid=image_id)


def _port(vif: Mapping[str, Any]) -> Element:
    return _N.port({"uuid": vif["id"]}, *_addresses(vif["network"].get("subnets") or ()))


def _addresses(subnets: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    for subnet in subnets:
        for address in subnet.get("ips") or ():
            yield _N.ip(
                type=str(address["type"]),
                address=str(address["address"]),
                ipVersion=str(address["version"]),
            )


def _named(group: str, tag: str, values: Mapping[str, Any]) -> Element:
    return _N(group, *(_N(tag, str(value), name=name) for name, value in values.items()))
