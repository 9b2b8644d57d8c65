# SPDX-License-Identifier: Apache-2.0
"""The gateway: every call to libvirt goes through :meth:`Connection.run`.

It opens the connection on demand and again after it was lost, keeps green threads running, and
turns ``libvirtError`` into this package's errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import libvirt
from oslo_config import cfg

from compute_driver import concurrency, exceptions
from compute_driver.libvirt import daemon, events

LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds between keep-alive messages, and how many may stay unanswered.  While a long call of one
#: thread is under way, libvirt's client (seen with 9.0) may overlook another's until the next
#: message comes; so that must not take long.
_KEEPALIVE = (1, 15)

#: libvirt's error numbers, and what they mean to a caller.  Sources: libvirt's virterror.h.
_LOST = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC})
_CLASSES: dict[int, type[exceptions.ComputeDriverError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: exceptions.GuestNotFound,
    libvirt.VIR_ERR_DOM_EXIST: exceptions.GuestExists,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: exceptions.GuestBusy,
}


def translate(error: libvirt.libvirtError) -> exceptions.ComputeDriverError:
    """Return this package's error for one of libvirt's, with its text on one line."""
    text = " ".join(str(error).split())
    code = error.get_error_code()
    if code in _LOST or error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return exceptions.LibvirtUnavailable(f"libvirt is not reachable: {text}")
    if "already exists with uuid" in text:  # a name; libvirt has no number of its own for it
        return exceptions.GuestExists(text)
    if "No space left on device" in text:
        return exceptions.NotEnoughSpace(text)
    return _CLASSES.get(code, exceptions.LibvirtError)(text)


class Connection:
    """One connection to libvirt, shared by all threads.

    :param conf: configuration with group ``[hypervisor]``.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        options = conf.hypervisor
        self._daemon = (
            None
            if options.connection_uri
            else daemon.EmbeddedDaemon(
                Path(options.state_path),
                console_log_max_bytes=options.console_log_max_kib * 1024,
                start_timeout=options.start_timeout,
            )
        )
        self._guard = concurrency.native("threading").Lock()
        self._open: libvirt.virConnect | None = None
        self.events = events.Dispatcher()

    @property
    def uri(self) -> str:
        """The URI of the libvirt daemon; starts the driver's own one if that is what it uses.

        :raises LibvirtUnavailable: if the driver's own daemon does not come up.
        """
        return self._daemon.ensure() if self._daemon else str(self._conf.hypervisor.connection_uri)

    def run(
        self,
        function: Callable[Concatenate[libvirt.virConnect, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call *function* with the open connection first, off the green threads.

        :raises LibvirtUnavailable: if there is no connection, or it was lost meanwhile.
        :raises GuestNotFound: if the domain is gone.
        :raises LibvirtError: for whatever else libvirt says, with its text.
        """
        if self._open is not None and not self._open.isAlive():
            LOG.warning("The connection to libvirt was lost; opening it again")
        return concurrency.run_blocking(self._run, lambda shared: function(shared, *args, **kwargs))

    def _run(self, function: Callable[[libvirt.virConnect], R]) -> R:
        old = self._open
        try:
            return self._attempt(function)
        except exceptions.LibvirtUnavailable:
            if old is None:
                raise
        # The daemon was restarted since the last call. Asking again does no harm: all calls say
        # what should be, and what was done already is refused as such.
        with self._guard:
            if self._open is old:
                self._open = None
        return self._attempt(function)

    def _attempt(self, function: Callable[[libvirt.virConnect], R]) -> R:
        try:
            return function(self._ensure_open())
        except libvirt.libvirtError as error:
            raise translate(error) from error

    def open(self) -> libvirt.virConnect:
        """Open a further connection, for a caller that blocks it and closes it itself.

        Blocks; raises ``libvirtError``.

        :raises ConfigurationError: if another hypervisor than QEMU is behind it.
        """
        events.ensure_loop()
        connection = libvirt.open(self.uri)
        kind = connection.getType()
        if kind != "QEMU":
            connection.close()
            raise exceptions.ConfigurationError(
                f"[hypervisor] connection_uri {self.uri} leads to {kind};"
                " accepted: a URI of libvirt's QEMU driver, such as qemu:///system"
            )
        connection.setKeepAlive(*_KEEPALIVE)
        return connection

    def _ensure_open(self) -> libvirt.virConnect:
        with self._guard:
            if self._open is not None and not self._open.isAlive():
                self._open = None
            if self._open is None:
                connection = self.open()
                self.events.register(connection)
                self._open = connection
            return self._open

    def close(self) -> None:
        """Let go of the connection; the next call opens it again."""
        with self._guard:
            connection, self._open = self._open, None
        if connection is not None:
            concurrency.run_blocking(_close_quietly, connection)
        if self._daemon is not None:
            self._daemon.close()


def _close_quietly(connection: libvirt.virConnect) -> None:
    try:
        connection.close()
    except libvirt.libvirtError as error:
        LOG.debug("Closing the connection to libvirt: %s", error)
