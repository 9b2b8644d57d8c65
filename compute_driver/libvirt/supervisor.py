# SPDX-License-Identifier: Apache-2.0
"""The process that holds an embedded libvirt together: a very small init.

It listens on the sockets of libvirtd and virtlogd and starts each when somebody connects, hands
the listening socket over by the protocol of sd_listen_fds(3), asks libvirtd for a first answer to
learn when it is ready, and adopts and reaps the emulators, so that libvirt never waits for a slow
PID 1.  Both daemons end by themselves when idle (``--timeout``); a daemon that was killed is
started again by the next connection.  Once no child is left the supervisor ends too.

Started by :mod:`compute_driver.libvirt.daemon` as a script of its own: standard library only and
no import of the package, so that it starts fast and whatever the import path is.  Its standard
input is the locked start lock, its standard output a pipe that receives ``ready`` or the reason
of a failure, its standard error the log.
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
# serial, status (libvirt's "RPC infrastructure").  It is answered once all drivers are up, which
# the daemon's own sd_notify(3) does not wait for.
HELLO = struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0)

# libvirt's directories as Debian, Fedora and all others compile them, by ours that hides each.
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
# libvirt looks up the account it was compiled to run guests as, even where qemu.conf names another.
# Debian makes that account with the system daemon only.
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
    """libvirtd cannot be had; the text is for the user."""


class StopRequest(Exception):
    """Somebody asked the supervisor to end."""


@dataclass
class Service:
    """A daemon that is started by a connection to its socket.

    :param name: of the program, its configuration and its socket unit.
    :param program: path of the executable.
    :param path: of its unix socket.
    :param listener: the socket that listens there.
    :param pid: of the running daemon, or None.
    :param lease: a connection of ours, which keeps it from going idle.
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
    """Let no other supervisor make or remove anything in *directory* meanwhile."""
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
    """The directories of a system libvirt, as places for mounts.

    The host may lack them.  A supervisor makes what is missing, and the last supervisor that uses
    such a directory removes it: a system libvirt that is installed later finds the host as if no
    embedded libvirt had ever run.
    """

    def __init__(self) -> None:
        self._marks: dict[Path, int] = {}

    def make(self, directory: Path) -> None:
        """Make *directory* if it is missing; use it if another supervisor has made it."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _locked(directory.parent):
            mark = directory / MARK
            if not directory.exists():
                directory.mkdir()
            elif not mark.exists() and not was_left(directory):
                return
            directory.chmod(0o755)  # whatever the umask of this process is
            descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # The daemons inherit the lock: they may outlive a supervisor that is killed.
            os.set_inheritable(descriptor, True)
            self._marks[directory] = descriptor

    def remove(self) -> None:
        """Remove the directories that no other supervisor uses and that nobody has filled."""
        for directory, descriptor in self._marks.items():
            with contextlib.suppress(OSError), _locked(directory.parent):
                _system_call("umount2", os.fsencode(directory), MNT_DETACH)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (directory / MARK).unlink()
                directory.rmdir()


def hide_system_libvirt(base: Path, mount_points: MountPoints) -> None:
    """Put our directories over libvirt's, for this process and its children only.

    Later mounts of the host still arrive here (slave propagation).

    :raises StartError: without CAP_SYS_ADMIN, or where a mount point cannot be made.
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
            f"an embedded libvirt of root's needs mounts of its own (CAP_SYS_ADMIN), which this "
            f"process may not make ({error}); set [hypervisor] connection_uri to a libvirt that "
            f"runs already, or run as an ordinary user"
        ) from error
    except OSError as error:
        raise StartError(f"cannot put its directories over the system's: {error}") from error


def environment(base: Path) -> dict[str, str]:
    """Return the daemons' environment: no session or bus of the caller's, UTF-8 names."""
    kept = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    session = {name: str(base / ours) for name, ours in SESSION_VARIABLES.items()}
    private = {
        "HOME": str(base),
        "LC_ALL": "C.UTF-8",
        # Without a bus libvirt asks no polkit, machined, logind or firewalld about our guests.
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/dev/null",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/dev/null",
    }
    return kept | private | (session if os.geteuid() else {})


def listen(path: Path) -> socket.socket:
    """Listen at ``path``, in place of what a dead supervisor left there."""
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
    """Return the process IDs of the supervisor's children, the unreaped among them."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


class Supervisor:
    """Starts the two daemons on demand until nobody needs them.

    :param base: directory of the embedded libvirt.
    :param programs: path of each daemon by its name; the first is the one clients connect to.
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
        self._probe: socket.socket | None = None  # as long as libvirtd is not ready
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
        """Serve until idle, asked to stop, or unable to start libvirtd.

        :raises StartError: libvirtd ended or took too long before it was ready.
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
        """Wait for the next event, and start what was asked for."""
        asleep = {service.listener: service for service in self._services if not service.pid}
        sources, timeout = [self._signals, *asleep], None
        if self._probe:
            sources.append(self._probe)
            timeout = max(0, self._deadline - time.monotonic())
        ready, _, _ = select.select(sources, [], [], timeout)
        if not ready:
            raise StartError(f"libvirtd was not ready within {self._start_timeout:g} s")
        if os.fstat(2).st_size > LOG_MAX_BYTES:
            os.ftruncate(2, 0)  # a line for each client that left without a word adds up
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
            # A virtlogd may outlive its supervisor, for its guests' sake, and keeps its file.
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
            # Of root's, virtlogd takes no account of the guests that write to it.
            service.lease = connect(service.path)

    def _reap(self) -> bool:
        """Collect the dead; whether any child is left.

        :raises StartError: libvirtd is among the dead and never was ready.
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
        """Close the doors, unless somebody stands in one.

        Under the start lock, so that nobody starts another supervisor meanwhile.  Who connected
        before the socket was renamed is seen and served; who comes later finds no socket.
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
        except FileNotFoundError:  # somebody removed the directory
            self._forget()
        return True

    def _stop(self) -> None:
        """End libvirtd.  Guests go on, and with them the virtlogd that they write to."""
        self._probe = None
        self._close()
        self._end(self._libvirtd)
        if not self._dismiss():
            self._forget()

    def linger(self) -> None:
        """Stay the reaper of guests that outlive a stop, while a successor may serve."""
        while self._dismiss():
            select.select([self._signals], [], [])
            if signal.SIGTERM in self._signals.recv(4096):
                return

    def _dismiss(self) -> bool:
        """End virtlogd once no guest can write to it; whether any child is left."""
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
        """Remove the sockets; they are ours as long as we listen on them."""
        for service in self._services:
            service.path.unlink(missing_ok=True)
            service.listener.close()

    def _forget(self) -> None:
        """Remove the short name of the directory, see :mod:`compute_driver.libvirt.daemon`."""
        if self._base.is_symlink():
            self._base.unlink()


def announce(text: bytes) -> None:
    """Tell the process that waits for the start, and let go of its lock and its pipe."""
    with contextlib.suppress(BrokenPipeError):  # it was killed; we serve the next one
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
        os._exit(0)  # the caller has no child to wait for once we serve
    os.umask(0o077)
    # Locked as long as this process serves: says who serves, and lets a successor wait its turn.
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
