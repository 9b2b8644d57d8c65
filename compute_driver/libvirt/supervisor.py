# SPDX-License-Identifier: Apache-2.0
"""The parent process of the embedded libvirt's daemons: a very small init.

The supervisor listens on the sockets of libvirtd and virtlogd.  A connection starts the daemon, and
the supervisor passes the listening socket on by the protocol of sd_listen_fds(3).  A first request
to libvirtd shows when libvirtd is ready.  The supervisor adopts and reaps the emulators, so that
libvirt never waits for a slow PID 1.  Idle daemons end by themselves (``--timeout``), and the next
connection starts a killed daemon again.  The supervisor ends when its last child has ended.

:mod:`compute_driver.libvirt.daemon` starts the supervisor as a separate script.  The script uses
only the standard library and imports nothing of the package, so that it starts fast and with any
import path.  Its standard input is the locked start lock, its standard output a pipe that receives
``ready`` or the reason of a failure, its standard error the log.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

READY = b"ready\n"
STOP_SECONDS = 10.0
LOG_MAX_BYTES = 1024 * 1024
# The first call of every client, REMOTE_PROC_AUTH_LIST: length, program, version, procedure, type,
# serial, status (libvirt's "RPC infrastructure").  The answer comes when all drivers are up;
# sd_notify(3) of the daemon comes earlier.
HELLO = struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0)

# libvirt's directories as distributions compile them, by the directory of ours that hides them.
SYSTEM_DIRECTORIES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
# A file in each of these directories that a supervisor has made.  A supervisor and its daemons hold
# a shared lock on the file as long as they need the directory.
MARK = ".made-for-an-embedded-libvirt"
# Base directories of libvirt's session mode, see libvirt's "Daemon configuration".
SESSION_VARIABLES = {
    "XDG_CONFIG_HOME": "etc",
    "XDG_RUNTIME_DIR": "run",
    "XDG_DATA_HOME": "lib",
    "XDG_CACHE_HOME": "cache",
}
# libvirt looks up the account that it was compiled for, even if qemu.conf names another account.
# Debian makes this account only with the system daemon.
DEFAULT_ACCOUNTS = {
    "passwd": "libvirt-qemu:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    "group": "libvirt-qemu:x:65534:\n",
}
INHERITED_VARIABLES = ("LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")

# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>; in Python's os module only since 3.12.
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36


class StartError(Exception):
    """libvirtd does not start; the text is for the user."""


class StopRequest(Exception):
    """A signal asks the supervisor to end."""


@dataclass
class Service:
    """A daemon that a connection to its socket starts.

    :param name: name of the program, its configuration and its socket unit.
    :param program: path of the executable.
    :param path: path of its UNIX socket.
    :param listener: the listening socket.
    :param pid: process ID of the running daemon; None while it does not run.
    :param lease: a connection of the supervisor, which keeps the daemon from going idle.
    """

    name: str
    program: str
    path: Path
    listener: socket.socket
    pid: int | None = None
    lease: socket.socket | None = None


def _system_call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _bind(source: Path, target: Path) -> None:
    _system_call("mount", os.fsencode(source), os.fsencode(target), None, MS_BIND, None)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other supervisors from making or removing entries of *directory*."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def was_left(directory: Path) -> bool:
    """Tell whether an earlier release has made *directory*: empty, and for root only."""
    status = directory.stat()
    private = stat.S_IMODE(status.st_mode) == 0o700 and status.st_uid == 0
    return private and not any(directory.iterdir())


class MountPoints:
    """The directories of a system libvirt, as mount points.

    A supervisor makes the directories that the host lacks, and the last supervisor that uses such
    a directory removes it: a system libvirt that is installed later finds the host as if no
    embedded libvirt had run.
    """

    def __init__(self) -> None:
        self._marks: dict[Path, int] = {}

    def make(self, directory: Path) -> None:
        """Make *directory* if it is missing, and mark it as used if a supervisor made it."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _locked(directory.parent):
            mark = directory / MARK
            if not directory.exists():
                directory.mkdir()
            elif not mark.exists() and not was_left(directory):
                return
            directory.chmod(0o755)  # the umask of this process may forbid it
            descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # The daemons inherit the lock: they may outlive a supervisor that is killed.
            os.set_inheritable(descriptor, True)
            self._marks[directory] = descriptor

    def remove(self) -> None:
        """Remove the empty directories that no other supervisor uses."""
        for directory, descriptor in self._marks.items():
            with contextlib.suppress(OSError), _locked(directory.parent):
                _system_call("umount2", os.fsencode(directory), MNT_DETACH)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (directory / MARK).unlink()
                directory.rmdir()


def hide_system_libvirt(base: Path, mount_points: MountPoints) -> None:
    """Mount our directories over libvirt's, for this process and its children only.

    Later mounts of the host still appear here (slave propagation).

    :raises StartError: without CAP_SYS_ADMIN, or if a mount point cannot be made.
    """
    try:
        _system_call("unshare", CLONE_NEWNS)
        _system_call("mount", None, b"/", None, MS_REC | MS_SLAVE, None)
        for ours, theirs in SYSTEM_DIRECTORIES.items():
            mount_points.make(Path(theirs))
            _bind(base / ours / "libvirt", Path(theirs))
        for database, entry in DEFAULT_ACCOUNTS.items():
            original = Path("/etc", database)
            text = original.read_bytes()
            name = entry.encode().partition(b":")[0]
            if not re.search(rb"^%b:" % name, text, re.MULTILINE):
                extended = base / "etc" / database
                extended.write_bytes(text.rstrip(b"\n") + b"\n" + entry.encode())
                _bind(extended, original)
    except PermissionError as error:
        raise StartError(
            f"root's embedded libvirt needs private mounts (CAP_SYS_ADMIN), which this "
            f"process may not make ({error}); set [hypervisor] connection_uri to a libvirt that "
            f"runs already, or run as an ordinary user"
        ) from error
    except OSError as error:
        raise StartError(f"cannot mount its directories over the system's: {error}") from error


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
    """Listen at ``path``, and replace the socket of a dead supervisor."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(socket.SOMAXCONN)
    return listener


def connect(path: Path) -> socket.socket:
    """Connect to the socket at ``path``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    return connection


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
        self._signals, writer = socket.socketpair()
        self._signals.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Serve until all children have ended, a signal asks to stop, or libvirtd does not start.

        :raises StartError: if libvirtd ended or took too long before it was ready.
        """
        try:
            self._launch(self._libvirtd)
            while True:
                self._step()
                if not self._dismiss() and self._retire():
                    return
        except StopRequest:
            self._stop()
        except StartError:
            self._stop()
            raise

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
        if self._signals in ready and signal.SIGTERM in self._signals.recv(4096):
            raise StopRequest
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
            str(self._runtime / f"{service.name}-{os.getpid()}.pid"),
            "--timeout",
            str(self._idle_timeout),
        ]
        activation = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": f"{service.name}.socket"}
        if service is self._libvirtd:
            self._probe = connect(service.path)
            self._probe.sendall(HELLO)
            self._deadline = time.monotonic() + self._start_timeout
        service.pid = os.fork()
        if service.pid == 0:
            try:
                null = os.open(os.devnull, os.O_RDWR)
                for source, target in ((null, 0), (2, 1), (service.listener.fileno(), 3)):
                    os.dup2(source, target)
                    os.set_inheritable(target, True)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                activation["LISTEN_PID"] = str(os.getpid())
                os.execve(service.program, arguments, self._environment | activation)  # noqa: S606
            finally:
                os._exit(127)
        if service is not self._libvirtd:
            # Root's virtlogd ignores the guests that write to it when it counts its clients.
            service.lease = connect(service.path)

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
                    (self._runtime / f"{service.name}-{os.getpid()}.pid").unlink(missing_ok=True)
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
                self._forget()
        except FileNotFoundError:  # another process removed the directory
            self._forget()
        return True

    def _stop(self) -> None:
        """End libvirtd.  Guests go on, and so does the virtlogd that they write to."""
        self._probe = None
        self._close()
        self._end(self._libvirtd)
        if not self._dismiss():
            self._forget()

    def linger(self) -> None:
        """Reap the guests that outlive a stop, while another supervisor may serve."""
        while self._dismiss():
            select.select([self._signals], [], [])
            if signal.SIGTERM in self._signals.recv(4096):
                return

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
        """Remove the short name of the directory, see :mod:`compute_driver.libvirt.daemon`."""
        if self._base.is_symlink():
            self._base.unlink()


def announce(text: bytes) -> None:
    """Report to the process that waits for the start, and close its lock and its pipe."""
    with contextlib.suppress(BrokenPipeError):  # a killed process needs no report
        os.write(1, text)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


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
    identity = os.open(options.base / "supervisor.pid", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(identity, fcntl.LOCK_EX)
    os.truncate(identity, 0)
    os.write(identity, b"%d\n" % os.getpid())
    mount_points = MountPoints()
    serving = None
    try:
        if os.geteuid() == 0:
            hide_system_libvirt(options.base, mount_points)
        _system_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        programs = {"libvirtd": options.libvirtd, "virtlogd": options.virtlogd}
        serving = Supervisor(options.base, programs, options.idle_timeout, options.start_timeout)
        serving.run()
        status = 0
    except StartError as failure:
        announce(str(failure).encode())
        status = 1
    os.close(identity)
    if serving:
        serving.linger()
    mount_points.remove()
    return status


if __name__ == "__main__":
    sys.exit(main())
