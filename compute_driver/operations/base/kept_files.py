# SPDX-License-Identifier: Apache-2.0
"""Guests of which only the files are kept, on purpose.

A file among them describes the domain.  It is written before the domain goes, and removed when the
domain is there again: then it is stale, unless the domain was just being removed.
"""

from __future__ import annotations

from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import removal
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout
from compute_driver.system import files
from compute_driver.xml import metadata


def undefine(parts: Parts, uuid: str) -> None:
    """Remove the domain of a guest whose kept files still have a description; its files stay."""
    if _description(parts, uuid).exists():
        removal.remove_domain(parts, uuid, keep_files=True)


def without_domain(parts: Parts, uuid: str) -> bool:
    """Tell whether a guest has kept files and no domain."""
    described = _description(parts, uuid).exists()
    return described and parts.connection.run(domains.lookup, uuid) is None


def guest(parts: Parts, uuid: str) -> Guest:
    """Return the guest as it was when its files were kept.

    :raises MetadataDamaged: if its description cannot be understood.
    """
    path = _description(parts, uuid)
    found = metadata.read(path.read_text())
    if found is None:
        raise exceptions.MetadataDamaged(f"{path} describes no guest")
    return found.guest


def describe(parts: Parts, uuid: str) -> None:
    """Write the description of a guest's domain to its files.

    :raises GuestNotFound: if this driver has no such guest.
    :raises HostError: if the description cannot be written.
    """
    text = parts.on_domain(uuid, domains.description)
    with files.new_file(_description(parts, uuid)) as path:
        path.write_text(text)


def bring_back(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest whose files were kept; nothing if the domain exists."""
    if without_domain(parts, uuid):
        parts.define_again(_description(parts, uuid).read_text())
        forget(parts, uuid)


def forget(parts: Parts, uuid: str) -> None:
    """Remove the description of a guest whose domain is there again; nothing without a domain."""
    if parts.connection.run(domains.lookup, uuid) is not None:
        _description(parts, uuid).unlink(missing_ok=True)


def _description(parts: Parts, uuid: str) -> Path:
    return parts.directory(uuid) / layout.DESCRIPTION
