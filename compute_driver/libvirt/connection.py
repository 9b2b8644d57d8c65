# SPDX-License-Identifier: Apache-2.0
"""The gateway: every call to libvirt goes through :meth:`Connection.run`.

The gateway opens connections on demand and again after a loss, keeps green threads running, and
turns ``libvirtError`` into this package's errors.  Simultaneous calls use separate connections: a
libvirtd serves at most five calls on one connection, and libvirt's client (seen with 9.0) may miss
an answer while another thread waits for a longer call.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import libvirt
from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.libvirt import daemon, events
from compute_driver.libvirt.known import Known
from compute_driver.system import concurrency

LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds between keep-alive messages, and the number that may stay unanswered.
_KEEPALIVE = (5, 3)

#: Largest number of open connections that wait for later calls.
_MAX_IDLE = 8

#: Errors of this package by libvirt's error numbers.  Source: libvirt's virterror.h.
_LOST = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC})
_CLASSES: dict[int, type[exceptions.ComputeDriverError]] = {
    libvirt.VIR_ERR_DOM_EXIST: exceptions.GuestExists,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: exceptions.GuestBusy,
}

#: libvirt's words for a job of another client on a disk, which have no error number.
_BLOCK_JOB = re.compile("active block job|blockjob assigned")


#: libvirt's prefix of failures of emulators, too.
_ANY_FAILURE = "internal error: "

#: libvirt's words for an emulator that ends as it starts, and QEMU's line with the reason.
_EMULATOR_ENDED = re.compile(
    r"(?:process exited while connecting to monitor|qemu unexpectedly closed the monitor):?"
    r"(?: \S+Z)?(?: qemu[\w-]*:)? ?(.*)"
)

#: libvirt's words for a program that fails, with the program's variables and arguments.
_PROGRAM_ENDED = re.compile(r"Child process \((?:.*? )?(/\S+).*\) unexpected (.*)")


def translate(
    error: libvirt.libvirtError, visible: Callable[[str], str] = str
) -> exceptions.ComputeDriverError:
    """Return this package's error for one of libvirt's, with its text on one line.

    :param visible: returns a text with the paths that the user can open.
    """
    text = visible(" ".join(str(error).split()).removeprefix(_ANY_FAILURE))
    text = _EMULATOR_ENDED.sub(lambda match: f"the emulator ended: {match[1] or 'no reason'}", text)
    text = _PROGRAM_ENDED.sub(r"\1 ended: \2", text)
    code = error.get_error_code()
    if code in _LOST or error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return exceptions.LibvirtUnavailable(f"libvirt is not reachable: {text}")
    if "already exists with uuid" in text:  # a taken name has no error number
        return exceptions.GuestExists(text)
    if "No space left on device" in text:
        return exceptions.NotEnoughSpace(text)
    if _BLOCK_JOB.search(text):
        return exceptions.GuestBusy(f"another client of libvirt copies or commits a disk: {text}")
    return _CLASSES.get(code, exceptions.LibvirtError)(text)


def _shown(function: Callable[..., object], args: Collection[object]) -> str:
    """Return a call for the log: names of functions, and UUIDs.  Other arguments may be secret."""
    names = [
        arg if isinstance(arg, str) else _name(arg)
        for arg in args
        if callable(arg) or (isinstance(arg, str) and is_uuid(arg))
    ]
    return f"{_name(function)}({', '.join(names)})"


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    module = str(getattr(function, "__module__", "")).rpartition(".")[2]
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module}.{name}".replace(".<locals>", "").replace(".<lambda>", "")


#: Versions by connection: a daemon keeps its version until its connections end.
_VERSIONS: weakref.WeakKeyDictionary[libvirt.virConnect, int] = weakref.WeakKeyDictionary()


def version(opened: libvirt.virConnect) -> int:
    """Return libvirt's version by its number; libvirt is asked once for each connection."""
    known = _VERSIONS.get(opened)
    if known is None:
        known = _VERSIONS[opened] = opened.getLibVersion()
    return known


def _is_open(connection: libvirt.virConnect, *, doubted: bool) -> bool:
    """Tell whether a connection is open.

    :param doubted: whether libvirt's daemon is asked.
    """
    try:
        return bool(connection.isAlive() and (not doubted or connection.getLibVersion()))
    except libvirt.libvirtError:
        return False


def _told(function: Callable[[libvirt.virConnect], R], opened: libvirt.virConnect) -> R:
    """Call a function, and again if libvirt does not tell its error.

    Each call of libvirt forgets the thread's last error, also the call that frees an object.  The
    garbage collector may do so between the failure and the question for the error.
    """
    try:
        return function(opened)
    except libvirt.libvirtError as error:
        if error.get_error_code() is not None:
            raise
    return function(opened)


class Connection:
    """The way to one libvirt daemon, shared by all threads.

    :param conf: configuration with group ``[hypervisor]``.
    :ivar known: what libvirt has told about all domains.
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
        self._idle: list[libvirt.virConnect] = []
        self._listener: libvirt.virConnect | None = None
        self.known = Known()
        self._dispatcher = events.Dispatcher(self.known)

    @property
    def uri(self) -> str:
        """The URI of the libvirt daemon; starts the embedded daemon if the driver uses it.

        :raises LibvirtUnavailable: if the embedded daemon does not start.
        """
        if self._daemon is None:
            return str(self._conf.hypervisor.connection_uri)
        return concurrency.run_blocking(self._daemon.ensure)

    def run(
        self,
        function: Callable[Concatenate[libvirt.virConnect, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call *function* on a native thread, with an open connection as first argument.

        If the first connection is lost, the gateway calls *function* again.  A call states the
        wanted result, so libvirt refuses the second call if the first one took effect.

        :return: what the function returns.
        :raises LibvirtUnavailable: if no connection can be opened, or the second one is lost.
        :raises LibvirtError: for any other error of libvirt; has libvirt's text.
        """
        begun, result = time.monotonic(), "failed"
        try:
            answer = concurrency.run_blocking(
                self._run, lambda opened: function(opened, *args, **kwargs)
            )
            result = "done"
            return answer
        finally:
            if LOG.isEnabledFor(logging.DEBUG):
                seconds = time.monotonic() - begun
                LOG.debug("libvirt: %s: %s after %.3f s", _shown(function, args), result, seconds)

    @contextlib.contextmanager
    def watch(self, uuid: str | None) -> Iterator[events.Watch]:
        """Collect the events of one domain; enter before the action that causes the events.

        :param uuid: UUID of the domain; None for all domains.
        :raises LibvirtUnavailable: if no connection can be opened.
        """
        self.listen()
        with self._dispatcher.watch(uuid) as watch:
            yield watch

    def listen(self) -> None:
        """Receive libvirt's events from now on, also again after a lost connection.

        :raises LibvirtUnavailable: if no connection can be opened.
        """
        concurrency.run_blocking(self._listen)

    def check_start(self) -> None:
        """Check that libvirt can start guests, before a guest is powered off and on.

        :raises LibvirtUnavailable: if a part of the embedded libvirt does not answer.
        """
        if self._daemon is not None:
            concurrency.run_blocking(self._daemon.ensure)
            concurrency.run_blocking(self._daemon.check_start)

    def _run(self, function: Callable[[libvirt.virConnect], R]) -> R:
        if self._daemon is not None:
            self._daemon.ensure_lease()  # puts killed and stopped parts in order
        with self._guard:
            idle = self._idle.pop() if self._idle else None
        if idle is not None:
            # The daemon may have been restarted since the last call.
            with contextlib.suppress(exceptions.LibvirtUnavailable):
                return self._call(idle, function)
        if self._listener is not None:
            self._listen(doubted=True)
        with self._translated():
            fresh = self.open()
        return self._call(fresh, function)

    def _call(self, opened: libvirt.virConnect, function: Callable[[libvirt.virConnect], R]) -> R:
        try:
            with self._translated():
                return _told(function, opened)
        finally:
            with self._guard:
                kept = len(self._idle) < _MAX_IDLE and bool(opened.isAlive())
                if kept:
                    self._idle.append(opened)
            if not kept:
                events.close_quietly(opened)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError as error:
            translated = translate(error, self._daemon.visible if self._daemon else str)
            if self._daemon is None and isinstance(translated, exceptions.LibvirtUnavailable):
                hint = "[hypervisor] connection_uri names the daemon"
                translated = exceptions.LibvirtUnavailable(f"{translated}; {hint}")
            raise translated from error

    def _listen(self, *, doubted: bool = False) -> None:
        """Open the connection that events arrive on, unless the connection is open.

        :param doubted: whether another connection is lost: libvirt's event loop may not have seen
            yet that this connection is lost, too.
        """
        with self._guard, self._translated():
            if self._listener is None or not _is_open(self._listener, doubted=doubted):
                self._dispatcher.unregister()
                self._listener = self.open()
                self._dispatcher.register(self._listener)

    def open(self) -> libvirt.virConnect:
        """Open a separate connection for a caller that closes the connection itself.

        This method blocks its thread and raises ``libvirtError``.

        :raises ConfigurationError: if the URI leads to another hypervisor than QEMU.
        """
        events.ensure_loop()
        try:
            return self._open()
        except libvirt.libvirtError as error:
            if not isinstance(translate(error), exceptions.LibvirtUnavailable):
                raise
        return self._open()  # the daemon may have ended, and a new one starts on demand

    def _open(self) -> libvirt.virConnect:
        connection = libvirt.open(self.uri)
        try:
            kind = connection.getType()
            if kind != "QEMU":
                raise exceptions.ConfigurationError(
                    f"[hypervisor] connection_uri {self.uri} leads to {kind};"
                    " accepted: a URI of libvirt's QEMU driver, such as qemu:///system"
                )
            connection.setKeepAlive(*_KEEPALIVE)
        except BaseException:
            events.close_quietly(connection)
            raise
        return connection

    def forget_guest(self, name: str) -> None:
        """Remove the logs of QEMU that the embedded libvirt keeps of a destroyed guest.

        A libvirt of the host keeps its logs by its own rules.
        """
        for path in self._daemon.guest_logs(name) if self._daemon else ():
            path.unlink(missing_ok=True)

    def is_logged(self, log: Path) -> bool:
        """Tell whether the embedded libvirt writes to a guest's console log.

        :return: True for a libvirt of the host, which is not asked.
        """
        return self._daemon is None or concurrency.run_blocking(self._daemon.is_logged, log)

    def close(self) -> None:
        """Close all connections; the next call opens a new one."""
        concurrency.run_blocking(self._close)

    def _close(self) -> None:
        with self._guard:
            opened, self._idle = self._idle, []
            self._listener = None
        self._dispatcher.unregister()
        for connection in opened:
            events.close_quietly(connection)
        if self._daemon is not None:
            self._daemon.close()
