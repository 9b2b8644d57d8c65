# SPDX-License-Identifier: Apache-2.0
"""Remove the domain and the files of a guest."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import Interface
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency


def remove(parts: Parts, uuid: str) -> None:
    """Remove the domain and the files of a guest; each step copes with what is gone already."""
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
    parts.connection.run(undefine, parts, uuid, keep_files=keep_files)
    return True


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


def undefine(
    connection: libvirt.virConnect, parts: Parts, uuid: str, *, keep_files: bool = False
) -> None:
    """Remove a domain from libvirt; nothing if libvirt has none.

    :param keep_files: whether the files that libvirt keeps for the domain stay.
    """
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
