# SPDX-License-Identifier: Apache-2.0
"""Remove the domain and the files of a guest."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import Interface
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.known import Told
from compute_driver.operations.base import changes, restoring, settling
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency, steps

LOG = logging.getLogger(__name__)

#: The end of the name that a guest's directory has during its removal.
REMOVED = ".removed"


def remove(parts: Parts, uuid: str) -> None:
    """Remove the domain and the files of a guest; nothing if the guest is gone.

    :raises HostError: if the operating system refuses.
    """
    with changes.removing(parts, uuid, Parts.disks, settling.kept_disks):
        if remove_domain(parts, uuid):
            remove_files(parts, uuid)


def remove_domain(parts: Parts, uuid: str, *, keep_files: bool = False) -> bool:
    """Power off, unplug and undefine the domain with that UUID, if this driver made it.

    :param keep_files: whether the files stay that libvirt keeps for the domain.
    :return: False if another program made the domain, which may use the guest's directory.
    """
    removed = parts.connection.run(_power_off, parts, uuid)
    if removed is None:
        return False
    steps.announce("guest powered off")
    # The domain has the only record of its interfaces: they are unplugged before it goes.
    parts.ports.unplug(uuid, removed.interfaces)
    parts.connection.run(_undefine, uuid, keep_files=keep_files)
    latest = Description.latest(parts.directory(uuid)).name()
    # Another client may have renamed or undefined the domain.
    for name in filter(None, {removed.name, latest}):
        parts.forget_logs(name)
    steps.announce("domain undefined")
    return True


def undefine_kept(parts: Parts, uuid: str) -> None:
    """Remove the domain of a guest whose kept files still have a description; its files stay."""
    if Description.kept(parts.directory(uuid)).exists():
        remove_domain(parts, uuid, keep_files=True)


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove all disks of a guest, then its directory with all that is in it.

    :raises HostError: if the operating system refuses.
    """
    home = parts.home(uuid)
    concurrency.run_blocking(home.remove)
    concurrency.run_blocking(_remove_tree, home.directory)
    parts.images.release(uuid)


@dataclasses.dataclass(frozen=True)
class _Removed:
    """The name and the interfaces of a domain that is to be removed, as far as they are known."""

    name: str | None = None
    interfaces: tuple[Interface, ...] = ()


def _power_off(connection: libvirt.virConnect, parts: Parts, uuid: str) -> _Removed | None:
    """Complete a domain and power it off; return None for a domain of others."""
    try:
        domain, told = restoring.completed(connection, parts.ownership, uuid)
    except (libvirt.libvirtError, exceptions.ComputeDriverError) as error:
        LOG.warning("Guest %s is removed as its domain is: %s", uuid, error)
        domain = domains.lookup(connection, uuid)
        told = Told("" if domain is None else domains.metadata_of(domain))
    if domain is None:
        return _Removed()
    if not parts.ownership.owns(domain, told):
        return None
    interfaces: tuple[Interface, ...] = ()
    # Of a guest without an intact description, the audit finds the ports by the UUID.
    with contextlib.suppress(exceptions.MetadataDamaged):
        stored = parts.ownership.content(domain, told)
        interfaces = () if stored is None else stored.guest.interfaces
    domains.unless_stopped(domain.destroy)  # saved memory goes with the definition
    return _Removed(domain.name(), interfaces)


def _undefine(connection: libvirt.virConnect, uuid: str, *, keep_files: bool) -> None:
    domain = domains.lookup(connection, uuid)
    if domain is not None:
        domains.undefine(domain, keep_files=keep_files)


def _remove_tree(directory: Path) -> None:
    """Remove a directory under another name, so that no program makes files in it meanwhile.

    virtlogd, for example, reads the rest of a console's output after the end of QEMU, and may begin
    a new file then.  The next removal ends an interrupted one.
    """
    moved = directory.with_name(directory.name + REMOVED)
    try:
        for step in (shutil.rmtree, directory.rename, shutil.rmtree):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                step(moved)
    except OSError as error:
        raise exceptions.HostError(f"{directory} cannot be removed: {error}") from error
