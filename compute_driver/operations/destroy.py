# SPDX-License-Identifier: Apache-2.0
"""Remove a guest with all that it owned, or keep its files."""

from __future__ import annotations

from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import kept_files, removal
from compute_driver.operations.base.context import Parts
from compute_driver.system import files


def destroy(parts: Parts, uuid: str) -> None:
    """Power a guest off and remove it; each step copes with what is gone already."""
    removal.remove(parts, uuid)


def release(parts: Parts, uuid: str) -> None:
    """Remove the domain of a guest, but keep its files and, among them, its description.

    :raises GuestNotFound: if this driver has no such guest.
    :raises HostError: if the description cannot be written.
    """
    interfaces = parts.stored(uuid).guest.interfaces
    with files.new_file(kept_files.path(parts, uuid)) as path:
        path.write_text(parts.on_domain(uuid, domains.description))
    parts.on_domain(uuid, domains.power_off)
    parts.ports.unplug(uuid, interfaces)
    parts.connection.run(removal.undefine, parts, uuid, keep_files=True)
