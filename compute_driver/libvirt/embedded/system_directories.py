# SPDX-License-Identifier: Apache-2.0
"""The directories of a system libvirt, which private mounts hide from an embedded libvirt.

The supervisor imports this module without the rest of the package: the module uses only the
standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

# libvirt's directories as distributions compile them, by the directory of ours that hides them.
SYSTEM_DIRECTORIES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
# The same, the other way round; and a path in one of theirs.  /var/run is an old name of /run.
_OURS = {theirs: ours for ours, theirs in SYSTEM_DIRECTORIES.items()}
_THEIRS = re.compile(rf"(?<![\w./-])(?:/var(?=/run/))?({'|'.join(_OURS)})(?=/)")
# A file in each of these directories that a supervisor has made.  A supervisor and its daemons hold
# a shared lock on the file as long as they need the directory.
MARK = ".made-for-an-embedded-libvirt"
# The mode of such a directory that an earlier release has made.
PRIVATE = 0o700
# A file of Debian: other distributions make some of these directories private themselves.
_DEBIAN = Path("/var/lib/dpkg/status")
# libvirt looks up the account that it was compiled for, even if qemu.conf names another account.
# Debian makes this account only with the system daemon.
DEFAULT_ACCOUNTS = {
    "passwd": "libvirt-qemu:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    "group": "libvirt-qemu:x:65534:\n",
}

# <linux/sched.h>, <linux/mount.h>; in Python's os module only since 3.12.
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MNT_DETACH = 2
# More directories than can be above a root; the path must be shorter than PATH_MAX.
_DEEPEST = 1000


class MountError(Exception):
    """The directories cannot be hidden; the text is for the user."""


def system_call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0 or sets ``errno``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _bind(source: Path, target: Path) -> None:
    system_call("mount", os.fsencode(source), os.fsencode(target), None, MS_BIND, None)


def _receive_mounts_only() -> None:
    """Let later mounts of the host appear in this mount namespace, but no mount leave it.

    In a plain chroot ``/`` is no mount point, and its mount point is above it: mount(2) fails with
    EINVAL.  Only a process whose working directory is outside of its root can reach that one.
    """
    try:
        _receive(b"/")
        return
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    root, working = (os.open(path, os.O_PATH | os.O_CLOEXEC) for path in ("/", "."))
    try:
        os.chroot("/etc")
        os.fchdir(root)
        os.chdir("../" * _DEEPEST)
        _receive(b".")
    finally:
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(working)
        os.close(root)
        os.close(working)


def _receive(mount_point: bytes) -> None:
    system_call("mount", None, mount_point, None, MS_REC | MS_SLAVE, None)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other supervisors from making or removing entries of *directory*."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def visible(text: str, base: Path) -> str:
    """Return a text of an embedded libvirt with its paths as other processes see them.

    *base* has the directories that hide a system libvirt's from the embedded libvirt.
    """
    return _THEIRS.sub(lambda match: str(base / _OURS[match[1]] / "libvirt"), text)


def is_of_earlier_release(directory: Path) -> bool:
    """Tell whether an earlier release may have made *directory*: for root only, on Debian."""
    status = directory.lstat()
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == PRIVATE
    return private and status.st_uid == 0 and _DEBIAN.exists()


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
        with locked(directory.parent):
            mark = directory / MARK
            if not directory.exists():
                directory.mkdir()
            elif not mark.exists() and not (
                is_of_earlier_release(directory) and not any(directory.iterdir())
            ):
                return
            try:
                descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                with contextlib.suppress(OSError):
                    directory.rmdir()  # no later audit finds a directory without a mark
                raise
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # The daemons inherit the lock: they may outlive a supervisor that is killed.
            os.set_inheritable(descriptor, True)
            self._marks[directory] = descriptor
            directory.chmod(0o755)  # the umask of this process may forbid it

    def remove(self) -> None:
        """Remove the empty directories that no other supervisor uses."""
        for directory, descriptor in self._marks.items():
            with contextlib.suppress(OSError), locked(directory.parent):
                system_call("umount2", os.fsencode(directory), MNT_DETACH)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (directory / MARK).unlink()
                directory.rmdir()


def hide_system_libvirt(base: Path, mount_points: MountPoints) -> None:
    """Mount our directories over libvirt's, for this process and its children only.

    Later mounts of the host still appear here (slave propagation).

    :raises MountError: without CAP_SYS_ADMIN, or if a mount point cannot be made.
    """
    try:
        system_call("unshare", CLONE_NEWNS)
        _receive_mounts_only()
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
        raise MountError(
            f"root's embedded libvirt needs private mounts (CAP_SYS_ADMIN), which this "
            f"process may not make ({error}); set [hypervisor] connection_uri to a libvirt that "
            f"runs already, or run as an ordinary user"
        ) from error
    except OSError as error:
        raise MountError(f"cannot mount its directories over the system's: {error}") from error
