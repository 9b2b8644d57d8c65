# SPDX-License-Identifier: Apache-2.0
"""The files of the locks of guests and of TCP ports."""

from __future__ import annotations

import logging
from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency

LOG = logging.getLogger(__name__)


def guest(parts: Parts, uuid: str) -> Path:
    """Return the file of the lock that an operation on a guest holds."""
    return _directory(parts) / uuid


def port(parts: Parts, number: int) -> Path:
    """Return the file of the lock that a guest holds while it takes a TCP port."""
    return _directory(parts) / f"port-{number}"


def guests(parts: Parts) -> set[str]:
    """Return the UUIDs of the guests whose locks have files.

    :raises OSError: if the directory of the locks cannot be read.
    """
    return {path.name for path in _files(parts) if is_uuid(path.name)}


def release_ports(parts: Parts) -> None:
    """Remove the files of ports' locks whose holders have died.

    :raises OSError: if the directory of the locks cannot be read.
    """
    for path in _files(parts):
        if not is_uuid(path.name):
            try:
                with concurrency.try_lock(path):
                    pass  # the release removes the file
            except exceptions.HostError as error:
                LOG.warning("The lock of a dead process stays: %s", error)


def _files(parts: Parts) -> list[Path]:
    directory = _directory(parts)
    return list(directory.iterdir()) if directory.is_dir() else []


def _directory(parts: Parts) -> Path:
    return Path(parts.conf.hypervisor.state_path) / "locks"
