# SPDX-License-Identifier: Apache-2.0
"""Remove a guest with all that it owned."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import Guest, Interface
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout
from compute_driver.system import concurrency, files
from compute_driver.xml import metadata


def destroy(parts: Parts, uuid: str) -> None:
    """Power a guest off and remove it; each step copes with what is gone already."""
    if remove_domain(parts, uuid):
        remove_files(parts, uuid)


def remove_domain(parts: Parts, uuid: str, *, keep_files: bool = False) -> bool:
    """Power off, unplug and undefine the domain with that UUID, if it is ours.

    :param keep_files: whether what libvirt keeps for it in files stays.
    :return: False if there is one of somebody else's, who may use the guest's directory.
    """
    interfaces = parts.connection.run(_power_off, parts, uuid)
    if interfaces is None:
        return False
    # Before the record of them goes with the domain.
    parts.ports.unplug(uuid, interfaces)
    parts.connection.run(_undefine, parts, uuid, keep_files=keep_files)
    return True


def release(parts: Parts, uuid: str) -> None:
    """Remove the domain of a guest, but keep its files and, among them, its description.

    :raises GuestNotFound: if this driver has no such guest.
    :raises HostError: if the description cannot be written.
    """
    interfaces = parts.stored(uuid).guest.interfaces
    with files.new_file(_description(parts, uuid)) as path:
        path.write_text(parts.on_domain(uuid, domains.description))
    parts.on_domain(uuid, domains.power_off)
    parts.ports.unplug(uuid, interfaces)
    parts.connection.run(_undefine, parts, uuid, keep_files=True)


def release_again(parts: Parts, uuid: str) -> None:
    """Remove the domain that was to have a guest's kept files, which stay, as does what they were.

    Nothing happens once the guest is there again: then its description is forgotten.
    """
    if _description(parts, uuid).exists():
        remove_domain(parts, uuid, keep_files=True)


def is_released(parts: Parts, uuid: str) -> bool:
    """Tell whether only the files of a guest are left, on purpose."""
    described = _description(parts, uuid).exists()
    return described and parts.connection.run(domains.lookup, uuid) is None


def kept(parts: Parts, uuid: str) -> Guest:
    """Return the guest whose files were kept, as it was.

    :raises MetadataDamaged: if its description cannot be understood.
    """
    found = metadata.read(_description(parts, uuid).read_text())
    if found is None:
        raise exceptions.MetadataDamaged(f"{_description(parts, uuid)} describes no guest")
    return found.guest


def bring_back(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest whose files were kept; nothing if it is there."""
    if is_released(parts, uuid):
        path = _description(parts, uuid)
        parts.connection.run(domains.define_again, path.read_text())
        forget_description(parts, uuid)


def forget_description(parts: Parts, uuid: str) -> None:
    """Remove the description of a guest whose domain is there again."""
    _description(parts, uuid).unlink(missing_ok=True)


def _description(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / layout.DESCRIPTION


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove the directory of a guest with all that is in it.

    :raises HostError: if the operating system refuses.
    """
    concurrency.run_blocking(_remove_tree, parts.directory(uuid))


def _power_off(
    connection: libvirt.virConnect, parts: Parts, uuid: str
) -> tuple[Interface, ...] | None:
    """Return the guest's interfaces, none if that is not known; None if it is not ours."""
    domain = domains.lookup(connection, uuid)
    if domain is None:
        return ()
    if not domains.is_ours(domain, parts.inventory.instances):
        return None
    domains.power_off(domain)
    try:
        found = domains.stored(domain, parts.inventory.instances)
    except exceptions.MetadataDamaged:
        return ()  # the audit finds by its UUID what is still plugged in
    return found.guest.interfaces if found else ()


def _undefine(
    connection: libvirt.virConnect, parts: Parts, uuid: str, *, keep_files: bool = False
) -> None:
    domain = domains.lookup(connection, uuid)
    if domain is not None:
        domains.undefine(domain, keep_files=keep_files)
        parts.connection.forget_guest(domain.name())


def _remove_tree(directory: Path) -> None:
    try:
        while directory.exists():
            # A file that libvirt removes at the same time ends a round, not the work.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)
    except OSError as error:
        raise exceptions.HostError(f"{directory} cannot be removed: {error}") from error
