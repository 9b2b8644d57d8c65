# SPDX-License-Identifier: Apache-2.0
"""Guests whose domain, or its metadata, another client of libvirt has removed.

libvirt forgets a domain that is undefined when the domain stops.  The guest's directory stays, with
the description that this driver has defined last.
"""

from __future__ import annotations

from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base import kept_files
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout, overlay
from compute_driver.system import steps
from compute_driver.xml import metadata, present


def is_forgotten(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest has a description and no domain, and was not destroyed."""
    gone = is_uuid(uuid) and parts.connection.run(domains.lookup, uuid) is None
    return gone and _path(parts, uuid).exists() and not kept_files.without_domain(parts, uuid)


def bring_back(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest that libvirt has forgotten; nothing for any other guest.

    :raises GuestExists: if another domain has the guest's name now.
    :raises DiskUnusable: if an overlay of a disk is there, which the description does not have:
        another client of libvirt has made the overlay, and the guest may have written to it.
    :raises MetadataDamaged: if the description is damaged, or another guest's.
    """
    if is_forgotten(parts, uuid):
        latest = _latest(parts, uuid)
        _refuse_taken_name(parts, uuid, metadata.name(latest))
        _refuse_overlays(parts, uuid, latest)
        parts.define_again(latest)
        steps.announce("domain defined again")


def persist(parts: Parts, uuid: str) -> None:
    """Define a domain that runs and was undefined; nothing for any other domain."""
    parts.connection.run(_persist, parts.ownership, uuid)


def lacks_metadata(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest has a description, and a domain without any metadata of this package."""
    return _path(parts, uuid).exists() and parts.connection.run(_lacks_metadata, uuid)


def describe_again(parts: Parts, uuid: str) -> None:
    """Give a guest's domain its metadata back.

    :raises MetadataDamaged: if the description is damaged, or another guest's.
    """
    parts.connection.run(parts.ownership.describe_again, _latest(parts, uuid))


def _persist(connection: libvirt.virConnect, ownership: Ownership, uuid: str) -> None:
    domain = domains.lookup(connection, uuid)
    if domain is not None and not domain.isPersistent() and ownership.owns(domain):
        domains.unless_stopped(
            lambda: ownership.define_again(connection, domains.description(domain))
        )


def _lacks_metadata(connection: libvirt.virConnect, uuid: str) -> bool:
    domain = domains.lookup(connection, uuid)
    return domain is not None and not domains.metadata_of(domain)


def _latest(parts: Parts, uuid: str) -> str:
    found = parts.ownership.latest(uuid)
    if found is None:
        path = _path(parts, uuid)
        raise exceptions.MetadataDamaged(f"{path} does not describe guest {uuid}")
    return found


def _refuse_taken_name(parts: Parts, uuid: str, name: str) -> None:
    if parts.connection.run(domains.lookup_name, name) is not None:
        raise exceptions.GuestExists(
            f"another domain has the name {name!r} of guest {uuid}; 'virsh domrename' gives that"
            " domain another name, 'destroy' removes it if it is a guest"
        )


def _refuse_overlays(parts: Parts, uuid: str, xml: str) -> None:
    directory = parts.directory(uuid)
    described = present.read(xml, None, directory)
    disks = {} if described is None else described.disks
    names = {place.source.address: name for name, place in disks.items() if place.source}
    for path in sorted(directory.iterdir()):
        base = overlay.base(path) if path.is_file() and str(path) not in names else None
        if base is not None and str(base) in names:
            raise exceptions.DiskUnusable(
                f"{path} is an overlay of {base}, the {names[str(base)]} disk of guest {uuid}, and"
                " another client of libvirt has made it: the guest may have written to it;"
                f" 'qemu-img commit -f qcow2 {path}' writes its content into the disk, then remove"
                " the overlay"
            )


def _path(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / layout.LATEST
