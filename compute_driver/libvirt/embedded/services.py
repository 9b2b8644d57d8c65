# SPDX-License-Identifier: Apache-2.0
"""The daemons of the embedded libvirt, as their supervisor starts them.

The supervisor imports this module without the rest of the package: the module uses only the
standard library.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compute_driver.libvirt.embedded.system_directories import system_call

# Base directories of libvirt's session mode, see libvirt's "Daemon configuration".  Sockets have
# their paths below the first one, so this name is short: a link leads from there to etc/libvirt.
SESSION_VARIABLES = {
    "XDG_CONFIG_HOME": "",
    "XDG_RUNTIME_DIR": "run",
    "XDG_DATA_HOME": "lib",
    "XDG_CACHE_HOME": "cache",
}
INHERITED_VARIABLES = ("LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class StartError(Exception):
    """libvirtd does not start; the text is for the user."""


@dataclass
class Service:
    """A daemon that a connection to its socket starts.

    :param name: name of the program, its configuration and its socket unit.
    :param program: path of the executable.
    :param path: path of its UNIX socket.
    :param listener: the listening socket.
    :param pid: process ID of the running daemon; None while it does not run.
    """

    name: str
    program: str
    path: Path
    listener: socket.socket
    pid: int | None = None

    def refuse(self) -> None:
        """Close the connections that wait for the daemon."""
        while select.select([self.listener], [], [], 0)[0]:
            self.listener.accept()[0].close()

    def start(self, arguments: list[str], environment: Mapping[str, str], *, bound: bool) -> None:
        """Start the daemon, which gets the listening socket by the protocol of sd_listen_fds(3).

        :param arguments: of the daemon, its program first.
        :param bound: whether the kernel kills the daemon at the death of this process.
        """
        supervisor = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                null = os.open(os.devnull, os.O_RDWR)
                for source, target in ((null, 0), (2, 1), (self.listener.fileno(), 3)):
                    os.dup2(source, target)
                    os.set_inheritable(target, True)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                if bound:
                    system_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                    if os.getppid() != supervisor:
                        os._exit(127)
                activation = {
                    "LISTEN_FDS": "1",
                    "LISTEN_FDNAMES": f"{self.name}.socket",
                    "LISTEN_PID": str(os.getpid()),
                }
                os.execve(self.program, arguments, {**environment, **activation})  # noqa: S606
            finally:
                os._exit(127)


def environment(base: Path) -> dict[str, str]:
    """Return the daemons' environment: without the caller's session and bus, UTF-8 names."""
    kept = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    session = {name: str(base / ours) for name, ours in SESSION_VARIABLES.items()}
    private = {
        "HOME": str(base),
        "LC_ALL": "C.UTF-8",
        # Without a bus libvirt does not ask polkit, machined, logind or firewalld about our guests.
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/dev/null",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/dev/null",
    }
    return kept | private | (session if os.geteuid() else {})


def listen(path: Path) -> socket.socket:
    """Listen at ``path``, and replace the socket of a dead supervisor.

    :raises StartError: if the socket cannot be made.
    """
    try:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        raise StartError(f"cannot listen at {path}: {error.strerror}") from error
    return listener


def connect(path: Path) -> socket.socket:
    """Connect to the socket at ``path``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    return connection
