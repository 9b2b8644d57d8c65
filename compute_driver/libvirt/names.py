# SPDX-License-Identifier: Apache-2.0
"""The length of a guest's name: libvirt puts the beginning of the name into paths of sockets.

The directory of QEMU's sockets is ``domain-NUMBER-NAME``.  NAME is the beginning of the guest's
name, and NUMBER grows with each start of any guest.  Sources: libvirt's virDomainDefGetShortName
and qemuDomainSetPrivatePaths.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from compute_driver import exceptions
from compute_driver.libvirt.embedded import short_names, system_directories
from compute_driver.system import home

#: Characters of the name in a path, and digits of the largest number, an int.
CHARACTERS = 20
_DIGITS = 10

#: The longest path of a socket below libvirt's directory.
_SOCKET = f"qemu/channel/target/domain-{'9' * _DIGITS}-/org.qemu.guest_agent.0"


def check_length(name: str, options: Any) -> None:
    """Refuse a name with which a guest cannot start, now or after any number of starts.

    :param options: group ``[hypervisor]``.
    :raises InvalidParameter: names the accepted length.
    """
    directory = _directory(options.connection_uri, options.state_path)
    room = short_names.SOCKET_PATH_MAX - len(os.fsencode(directory / _SOCKET))
    if len(name[:CHARACTERS].encode()) > room:
        accepted = (
            f"a name whose first {CHARACTERS} characters have at most {max(room, 0)} bytes in"
            f" UTF-8: libvirt puts them into the paths of sockets in {directory}"
        )
        raise exceptions.InvalidParameter("name", name, accepted)


def _directory(uri: str | None, state_path: str) -> Path:
    """Return the directory of the libvirt daemon that runs the guests, as the daemon sees it."""
    if uri and urlsplit(uri).path == "/session":
        base = home.find_base("XDG_CONFIG_HOME", ".config")
        return (base or Path("/")) / "libvirt"
    if uri or os.geteuid() == 0:
        return Path(system_directories.SYSTEM_DIRECTORIES["lib"])
    return short_names.of(Path(state_path, "libvirt")) / "libvirt"
