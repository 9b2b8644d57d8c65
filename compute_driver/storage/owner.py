# SPDX-License-Identifier: Apache-2.0
"""The owner of a directory of guests: a random UUID in a small file of the directory.

The owner stays with the directory when an operator moves, mounts or shares the directory.  Hosts
that share the directory have a file each beside the owner's.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.system import files
from compute_driver.system.filesystem import host_errors

FILE = ".compute_driver"

#: The beginning of the names of files that note the hosts with guests in the directory.
_HOST = f"{FILE}."

#: Every user of the directory reads the file; an owner is no secret.
_MODE = 0o644


def read(instances: Path) -> str | None:
    """Return the owner of a directory of guests; None if the owner is not known.

    :param instances: the directory of all guests of a driver.  Without its file, the directory is
        new, of an old version of the driver, or its storage is not mounted.
    """
    try:
        text = (instances / FILE).read_text(errors="replace").strip()
    except OSError:
        return None
    return text if is_uuid(text) else None


def note_host(instances: Path) -> None:
    """Note that this host has guests in a directory; nothing if that is noted.

    :raises HostError: if the file cannot be made.
    """
    path = instances / f"{_HOST}{socket.gethostname()}"
    if not path.exists():
        with host_errors(f"{path} cannot be made"):
            path.touch(_MODE)


def other_hosts(instances: Path) -> list[str]:
    """Return the names of other hosts that have guests in a directory."""
    hosts = {path.name.removeprefix(_HOST) for path in instances.glob(f"{_HOST}*")}
    return sorted(hosts - {socket.gethostname()})


def make(instances: Path, owner: str | None = None) -> str:
    """Give a directory of guests an owner, and return the owner that it has in the end.

    :param instances: a directory that exists.
    :param owner: the owner; None means a new one.
    :raises HostError: if the file cannot be made, or a file without a UUID is there.
    """
    path = instances / FILE
    made = owner or str(uuid.uuid4())
    try:
        with files.new_file(path, replace=False) as new, host_errors(f"{path} cannot be made"):
            with new.open("w") as stream:
                stream.write(f"{made}\n")
                stream.flush()
                os.fsync(stream.fileno())  # a crash of the host must not leave an empty file
            new.chmod(_MODE)
    except files.Taken as error:  # another process has made the file since
        present = read(instances)
        if present is None:
            raise exceptions.HostError(
                f"{path} has no readable UUID; remove the file, and the next power-on makes it anew"
            ) from error
        return present
    return made
