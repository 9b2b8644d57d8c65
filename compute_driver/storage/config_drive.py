# SPDX-License-Identifier: Apache-2.0
"""Makes the config drive: a small CD-ROM that tells a guest about itself.

Sources: Nova's "Metadata" user guide (layout and keys of ``meta_data.json``), its JSON schema of
``network_data.json``, and the cloud-init data source "Config drive" (volume label).  Keys whose
values this driver does not know (``project_id``, ``availability_zone``, ``devices``) are left out.
"""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from compute_driver import exceptions
from compute_driver.guest import ConfigDrive, Guest, StaticAddress
from compute_driver.storage import disks
from compute_driver.storage.source import Source

if TYPE_CHECKING:
    import pycdlib

LABEL = "config-2"

#: The newest version that cloud-init reads, and the name by which other programs find a version.
_VERSIONS = ("2018-08-27", "latest")

_MAX_KEY = 16384
#: Letters that Nova's API accepts in names and values of metadata.
_MAX_WORD = 255


def check_content(config: ConfigDrive) -> None:
    """Refuse values that a config drive cannot carry or a guest cannot use.

    :raises InvalidParameter: names the field and never shows its value.
    """
    _text("hostname", "a name", config.hostname, low=1, high=_MAX_WORD, printable=True)
    if any(character.isspace() or character == "/" for character in config.hostname):
        raise exceptions.InvalidParameter("hostname", config.hostname, "no blanks and no '/'")
    for name, key in config.public_keys.items():
        _text("public_keys", "a name for a key", name, low=1, high=_MAX_WORD, printable=True)
        _text("public_keys", f"an SSH key as {name!r}", key, low=1, high=_MAX_KEY, printable=True)
    for name, value in config.meta.items():
        _text("meta", "a name", name, low=1, high=_MAX_WORD, printable=True)
        _text("meta", f"a text as {name!r}", value, low=0, high=_MAX_WORD)
    if config.admin_password is not None:
        password = config.admin_password
        _text("admin_password", "a password", password, low=1, high=_MAX_WORD, printable=True)
    if not isinstance(config.user_data, (bytes, type(None))):
        raise exceptions.InvalidParameter("user_data", type(config.user_data).__name__, "bytes")


def contents(config: ConfigDrive, guest: Guest) -> dict[str, bytes]:
    """Return the files of one version directory of the drive, from name to bytes.

    :raises InvalidParameter: if the drive cannot carry a value; see :func:`check_content`.
    """
    check_content(config)
    documents = {
        "meta_data.json": _json(_meta_data(config, guest)),
        "network_data.json": _json(_network_data(config, guest)),
        "vendor_data.json": _json({}),
        "vendor_data2.json": _json({}),
    }
    if config.user_data is not None:
        documents["user_data"] = config.user_data
    return documents


def build(config: ConfigDrive, guest: Guest, target: Source) -> None:
    """Make the config drive of a guest, complete or not at all; only its owner may read the file.

    :param config: the content of the drive.
    :param guest: the guest, for its identity and its interfaces.
    :param target: the disk to make or to replace: ISO 9660 with Rock Ridge and Joliet names.
    :raises InvalidParameter: if the drive cannot carry a value; see :func:`check_content`.
    :raises NotEnoughSpace: if the storage is full.
    """
    import pycdlib  # slow to import, and few guests need it

    documents = config.files or _versions(contents(config, guest))
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident=LABEL)
    directories = {parent for path in documents for parent in PurePosixPath("/", path).parents}
    for directory in sorted(directories - {PurePosixPath("/")}):
        _add_directory(image, str(directory))
    for path, data in documents.items():
        _add_file(image, f"/{path}", data)
    with disks.kind(target).filling(target) as new, new.open("wb") as stream:
        image.write_fp(stream)
    image.close()


def _versions(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {
        f"openstack/{version}/{name}": data
        for version in _VERSIONS
        for name, data in documents.items()
    }


def _meta_data(config: ConfigDrive, guest: Guest) -> dict[str, object]:
    optional: dict[str, object] = {
        "meta": dict(config.meta),
        "admin_pass": config.admin_password,
        "public_keys": dict(config.public_keys),
        "keys": [
            {"name": name, "type": "ssh", "data": key} for name, key in config.public_keys.items()
        ],
    }
    return {
        "uuid": guest.uuid,
        "name": guest.name,
        "hostname": config.hostname,
        "launch_index": 0,
        "random_seed": base64.b64encode(os.urandom(512)).decode("ascii"),
        **{key: value for key, value in optional.items() if value},
    }


def _network_data(config: ConfigDrive, guest: Guest) -> dict[str, object]:
    links: list[dict[str, object]] = []
    networks: list[dict[str, object]] = []
    for index, interface in enumerate(guest.interfaces):
        link = {"id": f"interface{index}", "type": "phy", "ethernet_mac_address": interface.mac}
        links.append(link | ({} if interface.mtu is None else {"mtu": interface.mtu}))
        static = [_static(address) for address in config.addresses.get(interface.mac, ())]
        for network in static or [{"type": "ipv4_dhcp"}]:
            place = {
                "id": f"network{len(networks)}",
                "link": f"interface{index}",
                "network_id": interface.source or str(interface.kind),
            }
            networks.append(place | network)
    services = [{"type": "dns", "address": address} for address in config.name_servers]
    return {"links": links, "networks": networks, "services": services}


def _static(wanted: StaticAddress) -> dict[str, object]:
    """Return an address and a default route in the keys of ``network_data.json``."""
    interface = ipaddress.ip_interface(wanted.address)
    everywhere = ipaddress.ip_network("0.0.0.0/0" if interface.version == 4 else "::/0")
    route = {
        "network": str(everywhere.network_address),
        "netmask": str(everywhere.netmask),
        "gateway": wanted.gateway,
    }
    return {
        "type": f"ipv{interface.version}",
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
        "routes": [route] if wanted.gateway else [],
    }


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode("ascii")


def _add_directory(image: pycdlib.PyCdlib, path: str) -> None:
    image.add_directory(_plain(path), rr_name=path.rpartition("/")[2], joliet_path=path)


def _add_file(image: pycdlib.PyCdlib, path: str, data: bytes) -> None:
    directory, _slash, name = path.rpartition("/")
    plain = f"{_plain(directory)}/{_plain_word(name)}{';1' if '.' in name else '.;1'}"
    image.add_fp(io.BytesIO(data), len(data), plain, rr_name=name, joliet_path=path)


def _plain(path: str) -> str:
    """Return a directory's name in the characters of ISO 9660 without extensions."""
    return _plain_word(path).replace(".", "_")


def _plain_word(name: str) -> str:
    return name.upper().replace("-", "_")


def _text(
    field: str, noun: str, value: object, *, low: int, high: int, printable: bool = False
) -> None:
    accepted = f"{noun}, {low} to {high} characters long"
    if not isinstance(value, str):
        raise exceptions.InvalidParameter(field, type(value).__name__, accepted)
    if not low <= len(value) <= high:
        raise exceptions.InvalidParameter(field, f"{len(value)} characters", accepted)
    if printable and not value.isprintable():
        shown = "line breaks or control characters"
        raise exceptions.InvalidParameter(field, shown, f"{accepted}, without them")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise exceptions.InvalidParameter(field, "half a character", f"{accepted}, in Unicode")
