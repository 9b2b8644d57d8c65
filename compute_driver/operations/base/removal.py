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
from compute_driver.operations.base import changes
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency, steps

#: The end of the name that a guest's directory has during its removal.
REMOVED = ".removed"


def remove(parts: Parts, uuid: str) -> None:
    """Remove the domain and the files of a guest; nothing if the guest is gone.

    :raises HostError: if the operating system refuses.
    """
    with changes.removing(parts, uuid):
        if remove_domain(parts, uuid):
            remove_files(parts, uuid)


def remove_domain(parts: Parts, uuid: str, *, keep_files: bool = False) -> bool:
    """Power off, unplug and undefine the domain with that UUID, if this driver made it.

    :param keep_files: whether the files stay that libvirt keeps for the domain.
    :return: False if somebody else made the domain, which may use the guest's directory.
    """
    interfaces = parts.connection.run(_power_off, parts, uuid)
    if interfaces is None:
        return False
    steps.announce("guest powered off")
    # The domain has the only record of its interfaces: they are unplugged before it goes.
    parts.ports.unplug(uuid, interfaces)
    parts.connection.run(_undefine, parts, uuid, keep_files=keep_files)
    steps.announce("domain undefined")
    return True


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove all disks of a guest, then its directory with all that is in it.

    :raises HostError: if the operating system refuses.
    """
    home = parts.home(uuid)
    concurrency.run_blocking(home.remove)
    concurrency.run_blocking(_remove_tree, home.directory)
    parts.images.release(uuid)


def _power_off(
    connection: libvirt.virConnect, parts: Parts, uuid: str
) -> tuple[Interface, ...] | None:
    """Return the guest's interfaces, none if they are not known; None for a domain of others."""
    domain = domains.lookup(connection, uuid)
    if domain is None:
        return ()
    if not domains.is_ours(domain, parts.inventory.instances):
        return None
    domains.power_off(domain)
    try:
        found = domains.stored(domain, parts.inventory.instances)
    except exceptions.MetadataDamaged:
        return ()  # the audit finds ports that are still plugged in, by the UUID
    return found.guest.interfaces if found else ()


def _undefine(connection: libvirt.virConnect, parts: Parts, uuid: str, *, keep_files: bool) -> None:
    domain = domains.lookup(connection, uuid)
    if domain is not None:
        domains.undefine(domain, keep_files=keep_files)
        parts.connection.forget_guest(domain.name())


def _remove_tree(directory: Path) -> None:
    """Remove a directory under another name, so that nobody makes files in it meanwhile.

    virtlogd, for example, reads the rest of a console's output after the end of QEMU, and may begin
    a new file then.  The next removal ends an interrupted one.
    """
    moved = directory.with_name(directory.name + REMOVED)
    try:
        for step in (shutil.rmtree, directory.rename, shutil.rmtree):
            with contextlib.suppress(FileNotFoundError):
                step(moved)
    except OSError as error:
        raise exceptions.HostError(f"{directory} cannot be removed: {error}") from error
