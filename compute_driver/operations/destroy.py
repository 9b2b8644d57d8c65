# SPDX-License-Identifier: Apache-2.0
"""Remove a guest with all that it owned."""

from __future__ import annotations

import shutil
from pathlib import Path

import libvirt

from compute_driver import concurrency
from compute_driver.libvirt import domain as domains
from compute_driver.operations.parts import Parts


def destroy(parts: Parts, uuid: str) -> None:
    """Power a guest off and remove it; each step copes with what is gone already."""
    remove_domain(parts, uuid)
    remove_files(parts, uuid)


def remove_domain(parts: Parts, uuid: str) -> None:
    """Power off and undefine the domain with that UUID, if it is ours."""
    parts.connection.run(_remove_domain, uuid, parts.host.instances)


def remove_files(parts: Parts, uuid: str) -> None:
    """Remove the directory of a guest with all that is in it."""
    concurrency.run_blocking(_remove_tree, parts.directory(uuid))


def _remove_domain(connection: libvirt.virConnect, uuid: str, instances: Path) -> None:
    domain = domains.lookup(connection, uuid)
    if domain is not None and domains.is_ours(domain, instances):
        domains.power_off(domain)
        domains.undefine(domain)


def _remove_tree(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
