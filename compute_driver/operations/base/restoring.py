# SPDX-License-Identifier: Apache-2.0
"""Brings back the domains of guests, and their metadata, from the descriptions among the files.

A guest has files and no domain after a ``destroy`` that keeps the files.  Another client of libvirt
can leave a guest so, too: libvirt forgets a domain that is undefined when the domain stops.  For
the files that describe a guest see :mod:`compute_driver.libvirt.description`.
"""

from __future__ import annotations

import logging

import libvirt

from compute_driver import exceptions
from compute_driver.guest import Guest, is_uuid
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.known import Told
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base.context import Parts
from compute_driver.storage import overlay
from compute_driver.system import steps
from compute_driver.xml import metadata, present

LOG = logging.getLogger(__name__)


def restore(parts: Parts, description: Description) -> None:
    """Define a guest's domain again, from a description.

    :raises GuestExists: if another domain has the guest's name now.
    :raises MetadataDamaged: if the description is damaged, or another guest's.
    :raises HostError: if the description cannot be read.
    """
    xml = description.read()
    if parts.connection.run(domains.lookup, description.uuid) is None:
        _refuse_taken_name(parts, description.uuid, metadata.name(xml))
    parts.define_again(xml)


# Files that are kept on purpose.


def has_kept_files(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest was destroyed and its files kept."""
    described = Description.kept(parts.directory(uuid)).exists()
    return described and parts.connection.run(domains.lookup, uuid) is None


def kept_guest(parts: Parts, uuid: str) -> Guest:
    """Return the guest as it was when its files were kept.

    :raises MetadataDamaged: if its description is damaged.
    """
    stored = metadata.read(Description.kept(parts.directory(uuid)).read())
    assert stored is not None  # the description is intact
    return stored.guest


def keep(parts: Parts, uuid: str) -> None:
    """Write the description of a guest's domain to its files, before the domain goes.

    :raises GuestNotFound: if this driver has no such guest.
    :raises HostError: if the description cannot be written.
    """
    Description.kept(parts.directory(uuid)).write(parts.on_domain(uuid, domains.description))


def restore_kept(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest whose files were kept; nothing if the domain exists.

    :raises: the errors of :func:`restore`.
    """
    if has_kept_files(parts, uuid):
        restore(parts, Description.kept(parts.directory(uuid)))
        forget_kept(parts, uuid)


def forget_kept(parts: Parts, uuid: str) -> None:
    """Remove the description of a guest whose domain is there again; nothing without a domain."""
    if parts.connection.run(domains.lookup, uuid) is not None:
        Description.kept(parts.directory(uuid)).remove()


# Domains that another client has undefined.


def is_undefined(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest has a description and no domain, and was not destroyed."""
    return (
        is_uuid(uuid)
        and parts.connection.run(domains.lookup, uuid) is None
        and _latest(parts, uuid).exists()
        and not has_kept_files(parts, uuid)
    )


def restore_undefined(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest that libvirt has forgotten; nothing for any other guest.

    :raises DiskUnusable: if an overlay of a disk is there, which the description does not have:
        another client of libvirt has made the overlay, and the guest may have written to it.
    :raises: the errors of :func:`restore`.
    """
    if is_undefined(parts, uuid):
        description = _latest(parts, uuid)
        _refuse_overlays(parts, uuid, description.read())
        restore(parts, description)
        steps.announce("domain defined again")


# Domains that go on, and whose definition or metadata another client has removed or damaged.


def complete(parts: Parts, uuid: str) -> None:
    """Give a guest's domain back its definition, and its description if the files have one.

    Nothing for a domain of others, or a domain that is complete.
    """
    parts.connection.run(completed, parts.ownership, uuid)


def completed(
    connection: libvirt.virConnect, ownership: Ownership, uuid: str
) -> tuple[libvirt.virDomain | None, Told]:
    """Return the domain with that UUID, and its metadata, after :func:`complete`.

    The function runs behind the gateway.

    :return: None without such a domain, and no metadata.
    """
    domain = domains.lookup(connection, uuid)
    current = Told("" if domain is None else domains.metadata_of(domain))
    if domain is None or not ownership.owns(domain, current):
        return domain, current
    # A domain that was looked up just now has an ID only if it runs; else both are the same.
    later = current.text if domain.ID() == -1 else domains.next_metadata(domain)
    told = [current] if later is None else [current, Told(later)]
    damage = ownership.fault(domain, *told)
    # A definition with damaged metadata would take the place of the description.
    xml = Description.latest(ownership.instances / uuid).intact() if damage else None
    if later is None:
        domains.unless_stopped(
            lambda: ownership.define_again(connection, xml or domains.description(domain))
        )
    if xml:
        LOG.warning("Guest %s gets its description again: %s", uuid, damage)
        ownership.describe_again(connection, xml)
        current = Told(domains.metadata_of(domain))
    return domain, current


def lacks_metadata(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest has a description, and a domain without the guest's own metadata."""
    return _latest(parts, uuid).exists() and parts.connection.run(_is_unclaimed, uuid)


def describe_again(parts: Parts, uuid: str, *, repair: bool) -> None:
    """Give a guest's domain its metadata back.

    :param repair: whether it is done; else only the description is checked.
    :raises MetadataDamaged: if the description is damaged, or another guest's.
    :raises HostError: if the description cannot be read.
    """
    xml = _latest(parts, uuid).read()
    if repair:
        parts.connection.run(parts.ownership.describe_again, xml)


def _is_unclaimed(connection: libvirt.virConnect, uuid: str) -> bool:
    """Tell whether a domain has no metadata of a driver, or a copy of another guest's."""
    domain = domains.lookup(connection, uuid)
    if domain is None:
        return False
    claim = metadata.claim(domains.metadata_of(domain))
    return claim is None or claim.directory.name != uuid


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


def _latest(parts: Parts, uuid: str) -> Description:
    return Description.latest(parts.directory(uuid))
