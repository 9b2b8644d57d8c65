# SPDX-License-Identifier: Apache-2.0
"""An open connection to an embedded libvirtd, which keeps libvirtd from ending as idle."""

from __future__ import annotations

import os
import socket

from compute_driver.system import processes

#: States of a process that is neither stopped nor dead, see proc_pid_stat(5).
_ALIVE = frozenset("RSDI")


class Lease:
    """A connection to the libvirtd of one supervisor.

    :param connection: a native socket, connected to libvirtd; the lease closes the socket.
    :param supervisor: process ID of the supervisor.
    :raises OSError: if the supervisor has ended.
    """

    def __init__(self, connection: socket.socket, supervisor: int) -> None:
        self._connection = connection
        # The open file keeps its meaning if another process gets the same ID later.
        path = processes.stat_path(supervisor)
        self._status = open(path, "rb", buffering=0)  # noqa: SIM115 - see close()

    def serves(self) -> bool:
        """Tell whether libvirtd holds the connection, and the supervisor is not stopped.

        The method takes two system calls, so that each call of libvirt can ask.  A supervisor that
        is not stopped continues its stopped daemons by itself.
        """
        try:
            self._connection.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:  # no end of the connection, and no data
            return self._state() in _ALIVE
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Allow libvirtd to end when it is idle."""
        self._connection.close()
        self._status.close()

    def _state(self) -> str:
        """Return the state of the supervisor; empty if it has ended."""
        try:
            status = os.pread(self._status.fileno(), 4096, 0)
        except OSError:
            return ""
        return processes.split(status)[processes.STATE]
