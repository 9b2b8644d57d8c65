# SPDX-License-Identifier: Apache-2.0
"""The parent process of the embedded libvirt's daemons: a very small init.

The supervisor listens on the sockets of libvirtd and virtlogd.  A connection starts the daemon, see
:mod:`.services`.  A first request to libvirtd shows when libvirtd is ready.  The supervisor adopts
and reaps the emulators, so that libvirt never waits for a slow PID 1.  An idle libvirtd ends by
itself (``--timeout``), and the next connection starts a killed daemon again.  The supervisor ends
when its last child has ended.

No libvirtd runs without its supervisor: the kernel kills libvirtd at the supervisor's death, and
the next command starts both.  virtlogd goes on, since guests write to it; the next supervisor ends
this virtlogd after its guests.  The supervisor continues a daemon that a signal has stopped
(SIGSTOP), and a command continues a stopped supervisor.

:mod:`.daemon` starts the supervisor as a separate script.  The script and its modules use only the
standard library, so that it starts fast and with any import path.  Its standard input is the locked
start lock, its standard output a pipe that receives ``ready`` or the reason of a failure, its
standard error the log.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))  # for the script, which has no package

from compute_driver.libvirt.embedded import orphans
from compute_driver.libvirt.embedded.services import (
    Service,
    StartError,
    connect,
    environment,
    listen,
)
from compute_driver.libvirt.embedded.system_directories import (
    MountError,
    MountPoints,
    hide_system_libvirt,
    system_call,
)

READY = b"ready\n"
STOP_SECONDS = 10.0
LOG_MAX_BYTES = 1024 * 1024
# The first call of every client, REMOTE_PROC_AUTH_LIST: length, program, version, procedure, type,
# serial, status (libvirt's "RPC infrastructure").  The answer comes when all drivers are up;
# sd_notify(3) of the daemon comes earlier.
HELLO = struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0)

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class StopRequest(Exception):
    """A signal asks the supervisor to end."""


def children() -> set[int]:
    """Return the process IDs of the supervisor's children, including dead unreaped ones."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


class Supervisor:
    """Starts the two daemons on demand, until both are idle.

    :param base: directory of the embedded libvirt.
    :param programs: path of each daemon by its name; clients connect to the first one.
    :param idle_timeout: seconds after which an idle daemon ends.
    :param start_timeout: seconds that libvirtd may take to become ready.
    """

    def __init__(
        self, base: Path, programs: Mapping[str, str], idle_timeout: int, start_timeout: float
    ) -> None:
        self._base = base
        self._runtime = base / "run" / "libvirt"
        self._idle_timeout = idle_timeout
        self._start_timeout = start_timeout
        self._probe: socket.socket | None = None  # open until libvirtd is ready
        self._deadline = 0.0
        self._environment = environment(base)
        sockets = {"libvirtd": "libvirt-sock", "virtlogd": "virtlogd-sock"}
        self._services = [
            Service(name, program, path := self._runtime / sockets[name], listen(path))
            for name, program in programs.items()
        ]
        self._libvirtd = self._services[0]
        self._adopted: list[orphans.Orphan] = []
        self._signals, writer = socket.socketpair()
        self._signals.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve until all children have ended, a signal asks to stop, or libvirtd does not start.

        :raises StartError: if libvirtd ended or took too long before it was ready.
        """
        try:
            self._take_over()
            self._launch(self._libvirtd)
            while True:
                self._step()
                if not self._dismiss() and self._retire():
                    return
        except StopRequest:
            self._stop()
        except (OSError, StartError):
            self._stop()
            raise

    def _take_over(self) -> None:
        """End the libvirtd of a killed supervisor, and adopt a virtlogd that logs its guests.

        :raises StartError: if the libvirtd does not end.
        """
        for libvirtd in orphans.find(self._runtime, self._libvirtd.name):
            libvirtd.send(signal.SIGKILL)
            if not libvirtd.ended(STOP_SECONDS):
                raise StartError(f"an earlier libvirtd, process {libvirtd.pid}, does not end")
        self._adopted = orphans.find(self._runtime, "virtlogd")
        self._continue()

    def _continue(self) -> None:
        """Continue the daemons that a signal has stopped."""
        for service in self._services:
            if service.pid:
                os.kill(service.pid, signal.SIGCONT)
        for virtlogd in self._adopted:
            virtlogd.send(signal.SIGCONT)

    def _release(self) -> None:
        """End each adopted virtlogd that no guest writes to."""
        for virtlogd in self._adopted:
            if not virtlogd.logs_a_guest():
                virtlogd.send(signal.SIGTERM)
                virtlogd.ended(STOP_SECONDS)

    def _receive(self) -> None:
        """Receive signals: a child has changed its state, a command comes, or a stop is wanted.

        :raises StopRequest: if a signal asks the supervisor to end.
        """
        if signal.SIGTERM in self._signals.recv(4096):
            raise StopRequest
        self._continue()

    def _step(self) -> None:
        """Wait for the next event, and start the daemons that clients connect to."""
        asleep = {service.listener: service for service in self._services if not service.pid}
        sources, timeout = [self._signals, *asleep], None
        if self._probe:
            sources.append(self._probe)
            timeout = max(0, self._deadline - time.monotonic())
        ready, _, _ = select.select(sources, [], [], timeout)
        if not ready:
            raise StartError(f"libvirtd was not ready within {self._start_timeout:g} s")
        if os.fstat(2).st_size > LOG_MAX_BYTES:
            os.ftruncate(2, 0)  # libvirtd logs a line for each client that leaves
        if self._signals in ready:
            self._receive()
        if self._probe in ready:
            self._probe.recv(4096)
            self._probe.close()
            self._probe = None
            announce(READY)
        for listener in asleep.keys() & ready:
            self._launch(asleep[listener])

    def _launch(self, service: Service) -> None:
        arguments = [
            service.program,
            "--config",
            str(self._base / "etc" / "libvirt" / f"{service.name}.conf"),
            # A virtlogd with guests may outlive its supervisor, and keeps its own PID file.
            "--pid-file",
            str(self._pid_file(service)),
        ]
        if service is self._libvirtd:
            # An idle virtlogd is ended by its supervisor: root's virtlogd ignores the guests that
            # write to it when it counts its clients.
            arguments += ["--timeout", str(self._idle_timeout)]
            self._probe = connect(service.path)
            self._probe.sendall(HELLO)
            self._deadline = time.monotonic() + self._start_timeout
        service.start(arguments, self._environment, bound=service is self._libvirtd)

    def _pid_file(self, service: Service) -> Path:
        return orphans.pid_file(self._runtime, service.name, os.getpid())

    def _reap(self) -> bool:
        """Reap dead children.

        :return: whether any child is left.
        :raises StartError: if libvirtd died before it was ready.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            for service in self._services:
                if service.pid == pid:
                    service.pid = None
                    self._pid_file(service).unlink(missing_ok=True)
                    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                        service.refuse()  # a daemon that fails would be started again for ever
            if self._probe and self._libvirtd.pid is None:
                code = os.waitstatus_to_exitcode(status)
                raise StartError(f"libvirtd ended before it was ready (exit code {code})")

    def _retire(self) -> bool:
        """Close the sockets, unless a client is waiting.

        The start lock keeps other processes from starting another supervisor meanwhile.  A client
        that connected before the rename of the socket is served; a later client sees no socket.

        :return: whether the sockets are closed.
        """
        path = self._libvirtd.path
        hidden = path.with_name("closing")
        try:
            with open(self._base / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                path.rename(hidden)
                if select.select([self._libvirtd.listener], [], [], 0)[0]:
                    hidden.rename(path)
                    return False
                hidden.unlink()
                self._close()
                self._release()
                self._forget()
        except FileNotFoundError:  # another process removed the directory
            self._forget()
        return True

    def _stop(self) -> None:
        """End libvirtd.  Guests go on, and so does the virtlogd that they write to."""
        self._probe = None
        self._close()
        self._end(self._libvirtd)
        self._release()
        if not self._dismiss():
            self._forget()

    def linger(self) -> None:
        """Reap the guests that outlive a stop, while another supervisor may serve."""
        with contextlib.suppress(StopRequest):
            while self._dismiss():
                select.select([self._signals], [], [])
                self._receive()

    def _dismiss(self) -> bool:
        """End virtlogd if no guest writes to it.

        :return: whether any child is left.
        """
        self._reap()
        for service in self._services:
            if service is not self._libvirtd and children() == {service.pid}:
                self._end(service)
        return self._reap()

    def _end(self, service: Service) -> None:
        number, deadline = signal.SIGTERM, time.monotonic()
        while self._reap() and service.pid:
            left = deadline - time.monotonic()
            if left <= 0:
                os.kill(service.pid, number)
                number, deadline = signal.SIGKILL, deadline + STOP_SECONDS
            elif select.select([self._signals], [], [], left)[0]:
                self._signals.recv(4096)

    def _close(self) -> None:
        """Remove the sockets, which belong to this supervisor while it listens."""
        for service in self._services:
            service.path.unlink(missing_ok=True)
            service.listener.close()

    def _forget(self) -> None:
        """Remove the short name of the directory, see :mod:`.daemon`."""
        if self._base.is_symlink():
            self._base.unlink()


def announce(text: bytes) -> None:
    """Report to the process that waits for the start, and close its lock and its pipe."""
    with contextlib.suppress(BrokenPipeError):  # a killed process needs no report
        os.write(1, text)
    os.close(0)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # open(2) takes the free number 0


def main() -> int:
    """Become a daemon and supervise.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(description="Supervises an embedded libvirt.")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--libvirtd", required=True)
    parser.add_argument("--virtlogd", required=True)
    parser.add_argument("--idle-timeout", type=int, required=True)
    parser.add_argument("--start-timeout", type=float, required=True)
    options = parser.parse_args()
    if os.fork():
        os._exit(0)  # the caller has no child to wait for
    os.umask(0o077)
    # This process holds the lock while it serves, so that a successor waits for its end.
    try:
        identity = os.open(options.base / "supervisor.pid", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(identity, fcntl.LOCK_EX)
        os.truncate(identity, 0)
        os.write(identity, b"%d\n" % os.getpid())
    except OSError as error:
        announce(f"cannot write its process ID: {error.strerror}".encode())
        return 1
    mount_points = MountPoints()
    serving, status = None, 1
    try:
        if os.geteuid() == 0:
            hide_system_libvirt(options.base, mount_points)
        system_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        programs = {"libvirtd": options.libvirtd, "virtlogd": options.virtlogd}
        serving = Supervisor(options.base, programs, options.idle_timeout, options.start_timeout)
        serving.run()
        status = 0
    except (MountError, StartError) as failure:
        announce(str(failure).encode())
    except OSError as error:
        announce(f"cannot go on: {error}".encode())
        sys.stderr.write(f"supervisor: cannot go on: {error}\n")
    finally:
        try:
            os.close(identity)
            if serving:
                serving.linger()
        finally:
            mount_points.remove()
    return status


if __name__ == "__main__":
    sys.exit(main())
