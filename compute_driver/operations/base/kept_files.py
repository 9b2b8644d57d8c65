# SPDX-License-Identifier: Apache-2.0
"""Guests of which only the files are left, on purpose, with their description among them."""

from __future__ import annotations

from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import removal
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout
from compute_driver.xml import metadata


def mend(parts: Parts, uuid: str) -> None:
    """Remove the domain that was to have a guest's kept files, which stay, as does what they were.

    Nothing happens once the guest is there again: then its description is forgotten.
    """
    if path(parts, uuid).exists():
        removal.remove_domain(parts, uuid, keep_files=True)


def is_released(parts: Parts, uuid: str) -> bool:
    """Tell whether only the files of a guest are left, on purpose."""
    described = path(parts, uuid).exists()
    return described and parts.connection.run(domains.lookup, uuid) is None


def kept(parts: Parts, uuid: str) -> Guest:
    """Return the guest whose files were kept, as it was.

    :raises MetadataDamaged: if its description cannot be understood.
    """
    found = metadata.read(path(parts, uuid).read_text())
    if found is None:
        raise exceptions.MetadataDamaged(f"{path(parts, uuid)} describes no guest")
    return found.guest


def bring_back(parts: Parts, uuid: str) -> None:
    """Define the domain of a guest whose files were kept; nothing if it is there."""
    if is_released(parts, uuid):
        parts.connection.run(domains.define_again, path(parts, uuid).read_text())
        forget_description(parts, uuid)


def forget_description(parts: Parts, uuid: str) -> None:
    """Remove the description of a guest whose domain is there again."""
    path(parts, uuid).unlink(missing_ok=True)


def path(parts: Parts, uuid: str) -> Path:
    """Return where the description of a guest is kept with the guest's files."""
    return parts.directory(uuid) / layout.DESCRIPTION
