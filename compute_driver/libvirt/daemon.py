# SPDX-License-Identifier: Apache-2.0
"""The embedded libvirt: a private libvirtd for one state directory, started on demand.

Without configuration the command line needs no system daemon: it connects to a libvirtd that sees
only the guests of its state directory, runs as the user who started it, outlives the command and
ends some time after the last client and the last guest.  Root gets a *system* daemon (networks,
storage, secrets).  Private mounts hide its directories from the host, because libvirt has no option
to move them and serves even root's ``qemu:///session`` from the system daemon.  An ordinary user
gets a *session* daemon, whose directories follow the XDG base directory variables.

    STATE/libvirt/lock                          serialises starts
    STATE/libvirt/supervisor.pid                locked by the supervisor that serves
    STATE/libvirt/daemon.log                    messages of supervisor, libvirtd and virtlogd
    STATE/libvirt/{etc,run,lib,cache,log}/libvirt    libvirt's own directories
    STATE/libvirt/libvirt                       a shorter path of etc/libvirt
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from compute_driver.exceptions import (
    ConfigurationError,
    HostError,
    LibvirtUnavailable,
    MissingDependency,
    NotEnoughSpace,
)
from compute_driver.guest import MIB
from compute_driver.libvirt.embedded import orphans, short_names, supervisor, system_directories
from compute_driver.libvirt.embedded.lease import Lease
from compute_driver.system import concurrency, interpreter, space, tools
from compute_driver.system.filesystem import host_errors, is_full

STATE_OPTION = "[hypervisor] state_path"
LONGEST_SOCKET = "libvirt/run/libvirt/virtlogd-sock"
PACKAGES = {
    "libvirtd": "libvirt-daemon and libvirt-daemon-driver-qemu",
    "virtlogd": "libvirt-daemon (from Debian 13 on: libvirt-daemon-log)",
}
LOG_TAIL_BYTES = 1500
# A line of libvirt with an error.  The embedded libvirt has no bus, and needs none.
LOGGED_ERROR = re.compile(
    r"^[-\d]+ [\d:.+]+: \d+: error : \w+:\d+ : (?!.*bus connection)(.+)$", re.M
)
# Each running call takes one worker, and libvirt waits 10 s for an emulator that hangs.  With
# libvirt's default of 20 workers, 20 such calls block all others.
MAX_WORKERS = 100
# The supervisor reports its own failure in time; this limit only catches one that hangs.
SLACK_SECONDS = 15.0

Setting = str | int | list[str]


class EmbeddedDaemon:
    """The libvirt of one state directory; several threads may call its methods at the same time.

    The methods block their thread.  In a process with green threads the caller is a native thread.

    :param state_path: directory of all files; made when missing.
    :param console_log_max_bytes: size at which virtlogd starts a new file for a guest's console
        log (and for QEMU's messages); virtlogd keeps three older files.
    :param start_timeout: seconds that libvirtd may take until it is ready.
    :param idle_timeout: whole seconds from the last client and the last guest to its end.
    """

    def __init__(
        self,
        state_path: Path,
        *,
        console_log_max_bytes: int = 2 * MIB,
        start_timeout: float = 60.0,
        idle_timeout: int = 60,
    ) -> None:
        self._base = state_path.expanduser().absolute() / "libvirt"
        self._console_log_max_bytes = console_log_max_bytes
        self._start_timeout = start_timeout
        self._idle_timeout = idle_timeout
        self._privileged = os.geteuid() == 0
        self._home = self._base if self._privileged else short_names.of(self._base)
        # The waiting threads come from eventlet's pool and are native.
        self._mutex = concurrency.native("threading").Lock()
        self._lease: Lease | None = None

    @property
    def socket_path(self) -> Path:
        """The UNIX socket of the daemon."""
        return self._home / "run" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """The connection URI; the daemon need not run.

        See libvirt's "Connection URIs", remote transport ``unix``.
        """
        mode = "system" if self._privileged else "session"
        return f"qemu+unix:///{mode}?socket={quote(str(self.socket_path))}"

    @property
    def pid(self) -> int | None:
        """Process ID of the serving supervisor; None if no supervisor serves."""
        with suppress(OSError), open(self._base / "supervisor.pid", encoding="ascii") as identity:
            try:
                fcntl.flock(identity, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(identity.read() or 0) or None
        return None

    def ensure(self) -> str:
        """Start the daemon unless it runs, and keep it running until :meth:`close`.

        If the daemon runs already, the method only looks at an open socket, and continues daemons
        that a signal has stopped.

        :return: the connection URI.
        :raises ConfigurationError: if the state directory is not usable.
        :raises MissingDependency: if libvirt's daemons are not installed.
        :raises NotEnoughSpace: if the file system of the state directory is full.
        :raises LibvirtUnavailable: if the daemon does not start; quotes the end of its log.
        """
        with self._mutex:
            self._ensure()
        return self.uri

    def ensure_lease(self) -> None:
        """Do the work of :meth:`ensure` only if a killed or stopped part needs the work.

        :raises: the errors of :meth:`ensure`.
        """
        with self._mutex:
            if self._lease is None or not self._lease.serves():
                self._ensure()

    def check_start(self) -> None:
        """Check that guests can be started: virtlogd, which logs their consoles, answers.

        :raises LibvirtUnavailable: if virtlogd does not answer; quotes the end of the log.
        """
        try:
            with concurrency.native("socket").socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._start_timeout)
                connection.connect(str(self.socket_path.with_name("virtlogd-sock")))
                connection.sendall(supervisor.HELLO)  # of libvirtd: virtlogd answers by an error
                answered = bool(connection.recv(1))
        except OSError:
            answered = False
        if not answered:
            raise self._failure("virtlogd, which logs the guests' consoles, does not answer")

    def guest_logs(self, name: str) -> list[Path]:
        """Return the files with the messages of one guest's QEMU."""
        logs = self._base / ("log/libvirt/qemu" if self._privileged else "cache/libvirt/qemu/log")
        log = logs / f"{name}.log"
        return [log, *(path for path in logs.glob("*.log.[0-9]*") if path.stem == log.name)]

    def is_logged(self, log: Path) -> bool:
        """Tell whether a virtlogd of this libvirt writes to a guest's console log."""
        files = (self._base / "run" / "libvirt").glob("virtlogd-*.pid")
        return any(orphans.has_open(pid, log) for pid in map(orphans.read_pid, files) if pid)

    def visible(self, text: str) -> str:
        """Return a message of the daemon with the paths that its user can open."""
        return system_directories.visible(text, self._base) if self._privileged else text

    def close(self) -> None:
        """Allow the daemon to end when it is idle."""
        with self._mutex:
            self._drop_lease()

    def stop(self) -> None:
        """End the daemon.  Its guests go on running, and the next :meth:`ensure` finds them.

        While guests run, the supervisor stays as their parent and reaps them.

        :raises HostError: if the supervisor belongs to another user.
        """
        self.close()
        if not self._base.is_dir():
            return
        with self._locked():
            pid = self.pid
            if pid is None:
                return
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                return
            except PermissionError as error:
                raise HostError(f"cannot end the libvirt supervisor {pid}: {error}") from error
            with open(self._base / "supervisor.pid", "rb") as identity:
                fcntl.flock(identity, fcntl.LOCK_SH)  # its end takes a limited time

    def _ensure(self) -> None:
        with host_errors(f"the embedded libvirt in {self._base} cannot be used"):
            if not (self._continue() and self._is_leased()):
                self._drop_lease()
                self._lease = self._connect() or self._start()

    def _is_leased(self) -> bool:
        """Tell whether the lease serves, and its socket still has its name."""
        serves = self._lease is not None and self._lease.serves()
        return serves and self._name_is_ours() and self.socket_path.exists()

    def _continue(self) -> int | None:
        """Continue a stopped supervisor, which continues its daemons.

        :return: its process ID; None if no supervisor serves.
        """
        pid = self.pid
        if pid is not None:
            with suppress(OSError):  # the supervisor has just ended, or is another user's
                os.kill(pid, signal.SIGCONT)
        return pid

    def _drop_lease(self) -> None:
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def _name_is_ours(self) -> bool:
        """Tell whether the short name leads to our directory, and not to another user's daemon."""
        return self._privileged or short_names.leads_to(self._home, self._base)

    def _connect(self) -> Lease | None:
        """Connect, which keeps the daemon from going idle; None if our daemon does not listen."""
        pid = self._continue()
        if pid is None or not self._name_is_ours():
            return None
        # A socket of eventlet waits where a native socket raises BlockingIOError.
        connection: socket.socket = concurrency.native("socket").socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.socket_path))
            return Lease(connection, pid)
        except OSError:
            connection.close()
            return None

    def _start(self) -> Lease:
        self._check_user_and_path()
        programs = {name: find_program(name) for name in PACKAGES}
        self._make_directories()
        with self._locked() as lock:
            if not self._privileged:
                short_names.make(self._home, self._base)
            lease = self._connect()  # another process may have started the daemon first
            if lease is None:
                self._write_configuration()
                self._run_supervisor(programs, lock)
                lease = self._connect()
        if lease is None:
            raise self._failure("the embedded libvirt ended at once")
        return lease

    def _check_user_and_path(self) -> None:
        """Refuse a user or path on which libvirt fails later with a less clear message."""
        if self._privileged:
            room = short_names.SOCKET_PATH_MAX - len(f"/{LONGEST_SOCKET}")
            if len(os.fsencode(self._base.parent)) > room:
                accepted = f"a path of at most {room} bytes, since it holds unix sockets"
                raise self._unusable(accepted)
            return
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise LibvirtUnavailable(
                f"libvirt refuses users without a name: user ID {os.geteuid()} has no entry in "
                f"the password database; add one, or set [hypervisor] connection_uri"
            ) from error

    def _make_directories(self) -> None:
        accepted = f"a directory that user ID {os.geteuid()} owns or can make"
        try:
            self._base.parent.mkdir(parents=True, exist_ok=True)
            self._base.mkdir(mode=0o700, exist_ok=True)
            if self._base.stat().st_uid != os.geteuid():
                raise self._unusable(accepted)
            for ours in system_directories.SYSTEM_DIRECTORIES:
                (self._base / ours / "libvirt").mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (self._base / "libvirt").symlink_to("etc/libvirt")  # see SESSION_VARIABLES
        except OSError as error:
            if is_full(error):
                raise
            raise self._unusable(f"{accepted} ({error.strerror}: {error.filename})") from error

    def _unusable(self, accepted: str) -> ConfigurationError:
        path = str(self._base.parent)
        return ConfigurationError(f"{STATE_OPTION}: {path!r} is not usable; accepted: {accepted}")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        lock = os.open(self._base / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _write_configuration(self) -> None:
        directory = self._base / "etc" / "libvirt"
        for name, settings in configuration(self._privileged, self._console_log_max_bytes).items():
            # JSON's strings, numbers and lists are those of libvirt's configuration files.
            lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
            (directory / name).write_text("".join(lines), encoding="utf-8")

    def _run_supervisor(self, programs: Mapping[str, str], lock: int) -> None:
        """Start the supervisor, and wait until it reports that libvirtd is ready or has failed."""
        command = [interpreter.find_python(), "-I", "-S", supervisor.__file__]
        command += ["--base", str(self._home)]
        command += ["--idle-timeout", str(self._idle_timeout)]
        command += ["--start-timeout", str(self._start_timeout)]
        for name, program in programs.items():
            command += [f"--{name}", program]
        subprocess = concurrency.native("subprocess")
        (self._base / "daemon.log").unlink(missing_ok=True)
        with open(self._base / "daemon.log", "ab") as log:
            try:
                done = subprocess.run(
                    command,
                    stdin=lock,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd="/",
                    env=os.environ | {"PATH": tools.search_path()},
                    start_new_session=True,
                    timeout=self._start_timeout + SLACK_SECONDS,
                    check=False,
                )
                answer = done.stdout
            except subprocess.TimeoutExpired:
                answer = b"its supervisor does not answer"
        if answer != supervisor.READY:
            reason = answer.decode(errors="replace") or "its supervisor failed"
            raise self._failure(f"the embedded libvirt did not start: {reason}")

    def _failure(self, reason: str) -> HostError:
        if space.is_used_up(self._base):
            return NotEnoughSpace(f"{reason}; no space left in {self._base}")
        path = self._base / "daemon.log"
        return LibvirtUnavailable(f"{reason}; {path} ends: {last_reason(path.read_bytes())}")


def last_reason(log: bytes) -> str:
    """Return the latest error of libvirt in a log; the end of the log if libvirt wrote no error."""
    text = log[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    reasons: list[str] = LOGGED_ERROR.findall(text)
    return reasons[-1] if reasons else text.rpartition("\n")[2]


def configuration(privileged: bool, console_log_max_bytes: int) -> dict[str, dict[str, Setting]]:
    """Return the settings of libvirtd, virtlogd and the QEMU driver, by file name.

    :param privileged: whether the daemon runs as root.
    :param console_log_max_bytes: see :class:`EmbeddedDaemon`.
    """
    log: dict[str, Setting] = {"log_outputs": "3:stderr"}
    root: dict[str, Setting] = {"user": "root", "group": "root", "remember_owner": 0}
    qemu: dict[str, Setting] = {
        "security_driver": "none",
        "namespaces": [],
        "cgroup_controllers": [],
        "stdio_handler": "logd",
    }
    return {
        # Only the owner of the directory can enter it, so only the owner can connect.
        "libvirtd.conf": log
        | {"auth_unix_ro": "none", "auth_unix_rw": "none", "max_workers": MAX_WORKERS},
        "virtlogd.conf": log | {"max_size": console_log_max_bytes, "max_backups": 3},
        "qemu.conf": qemu | (root if privileged else {}),
    }


def find_program(name: str) -> str:
    """Return the path of a daemon, even if ``PATH`` lacks ``sbin``.

    :raises MissingDependency: if the daemon is not installed.
    """
    path = tools.locate(name)
    if path is None:
        raise MissingDependency(
            f"no {name} for the embedded libvirt: install the Debian package {PACKAGES[name]}, "
            f"or set [hypervisor] connection_uri to a libvirt that runs already"
        )
    return path
