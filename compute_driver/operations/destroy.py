# SPDX-License-Identifier: Apache-2.0
"""Remove a guest with all that it owned."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import libvirt

from compute_driver import concurrency, exceptions
from compute_driver.libvirt import domain as domains
from compute_driver.operations.parts import Parts


def destroy(parts: Parts, uuid: str) -> None:
    """Power a guest off and remove it; each step copes with what is gone already."""
    if remove_domain(parts, uuid):
        remove_files(parts, uuid)


def remove_domain(parts: Parts, uuid: str) -> bool:
    """Power off and undefine the domain with that UUID, if it is ours.

    :return: False if there is one of somebody else's, who may use the guest's directory.
    """
    return parts.connection.run(_remove_domain, parts, uuid)


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove the directory of a guest with all that is in it.

    :raises HostError: if the operating system refuses.
    """
    concurrency.run_blocking(_remove_tree, parts.directory(uuid))


def _remove_domain(connection: libvirt.virConnect, parts: Parts, uuid: str) -> bool:
    domain = domains.lookup(connection, uuid)
    if domain is None:
        return True
    if not domains.is_ours(domain, parts.host.instances):
        return False
    domains.power_off(domain)
    domains.undefine(domain)
    parts.connection.forget_guest(domain.name())
    return True


def _remove_tree(directory: Path) -> None:
    try:
        while directory.exists():
            # A file that libvirt removes at the same time ends a round, not the work.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)
    except OSError as error:
        raise exceptions.HostError(f"{directory} cannot be removed: {error}") from error
