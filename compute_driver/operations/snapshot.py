# SPDX-License-Identifier: Apache-2.0
"""Copy a guest's root disk into one image file, while the guest goes on.

Of a running guest its emulator makes the copy, as the disk is at one moment: what is not copied yet
is saved before the guest overwrites it (libvirt's backup in push mode).  That needs no transient
domain, as a block copy does, and ends by itself if this process dies, where a block copy would
mirror the guest's writes for good.

The emulator always writes qcow2, into the guest's own directory: there it may write, and a raw file
would take the space of all that is empty, too.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import time
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, DiskFormat, PowerState, Quiesce, SnapshotFormat
from compute_driver.driver import Progress
from compute_driver.guest import is_uuid
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations import quiesce
from compute_driver.operations.base.context import Parts, Undo
from compute_driver.storage import disks
from compute_driver.storage.layout import Role
from compute_driver.storage.source import FileSource, Source
from compute_driver.system import concurrency, files, space, tools
from compute_driver.system.filesystem import host_errors
from compute_driver.xml import backup
from compute_driver.xml import source as source_xml

#: The operations that are mended.
OPERATIONS = frozenset({"snapshot"})


#: Names in the guest's directory: the emulator's copy, and a link to what is being made elsewhere.
_COPY = "snapshot.qcow2"
_ELSEWHERE = "snapshot.elsewhere"

#: Seconds that the emulator may take to end what it was told to end.
_ABORT_SECONDS = 30.0

#: Seconds by which the end of a guest may be told later than that of its jobs.
_STOP_SECONDS = 2.0


def check(parts: Parts, target: Path) -> Path:
    """Refuse what cannot work, before anything is made.

    :return: the target's absolute path.
    :raises InvalidParameter: names what is accepted.
    """
    target = target.absolute()
    with host_errors(f"{target} cannot be made"):
        taken = target.is_symlink() or target.exists()
        if taken or not target.parent.is_dir() or _is_guests(parts, target):
            raise _unusable(target)
    return target


def _unusable(target: Path) -> exceptions.InvalidParameter:
    accepted = "a new file in a directory that exists, and that is no guest's"
    return exceptions.InvalidParameter("target", str(target), accepted)


def _is_guests(parts: Parts, target: Path) -> bool:
    """Tell whether a path is in a guest's directory, or could become one."""
    found, instances = (
        Path(os.path.realpath(each)) for each in (target, parts.inventory.instances)
    )
    if not found.is_relative_to(instances):
        return False
    return any(map(is_uuid, found.relative_to(instances).parts[:1]))


def snapshot(
    parts: Parts,
    uuid: str,
    target: Path,
    image_format: SnapshotFormat,
    wish: Quiesce,
    timeout: float,
    progress: Progress,
    held: concurrency.Lock,
) -> None:
    """Copy the guest's root disk to *target*.

    :param target: what :func:`check` returned.
    :param timeout: seconds.
    :param held: the guest's lock, whose note stays if something of the copy could not be removed.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.snapshot`.
    """
    deadline = time.monotonic() + timeout
    stored = parts.stored(uuid).guest
    disk = parts.plan(stored).disk(Role.ROOT)
    if disk is None:
        raise exceptions.SnapshotFailed(f"guest {stored.name!r} has no root disk")
    if wish is Quiesce.REQUIRE:
        parts.require(uuid, "quiesce", {PowerState.RUNNING, PowerState.STOPPED})
    size, needed = _sizes(parts, uuid, disk.source)
    what = f"copying {stored.name}"
    progress(what, 0, needed)
    undo = Undo()
    try:
        with undo:  # nothing is ever committed: what is made on the way goes in any case
            undo.add(f"parts of a snapshot of {stored.name}", mend, parts, uuid)
            source = disk.source
            if parts.state(uuid) in ACTIVE:
                space.require(parts.directory(uuid), needed)
                if _back_up(parts, uuid, source, size, wish, deadline):
                    source = _copy(parts, uuid)
            _finish(parts, uuid, source, target, image_format, needed, deadline)
    except files.Taken as error:  # by somebody else, since it was checked
        raise _unusable(target) from error
    finally:
        held.keep = undo.failed
    progress(what, needed, needed)


def give_up(parts: Parts, uuid: str) -> None:
    """Have whoever copies the disk of a guest that is to be removed fail soon."""
    with contextlib.suppress(exceptions.ComputeDriverError):  # it may take its time, then
        _aborted(parts, uuid, time.monotonic() + _ABORT_SECONDS)


def mend(parts: Parts, uuid: str) -> None:
    """End the copying of a guest's disk, if it goes on, and remove what it has made."""
    deadline = time.monotonic() + _ABORT_SECONDS
    with contextlib.suppress(exceptions.GuestNotFound):
        with parts.connection.watch(uuid) as watch:
            if _aborted(parts, uuid, deadline):
                watch.wait({events.JOB_ENDED, events.STOPPED}, deadline)
        concurrency.within(deadline, parts.on_domain, uuid, _settle)
    for path in leftovers(parts, uuid):
        if path.is_symlink():
            path.readlink().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return what is there of a copy that is being made, or was when it was interrupted."""
    directory = parts.directory(uuid)
    return sorted((*directory.glob("snapshot.*"), *directory.glob(".snapshot.*")))


def _copy(parts: Parts, uuid: str) -> FileSource:
    """Return the copy that the emulator makes."""
    return FileSource(path=parts.directory(uuid) / _COPY, format=DiskFormat.QCOW2)


def _sizes(parts: Parts, uuid: str, source: Source) -> tuple[int, int]:
    """Return the size of a disk, and how much a copy of it takes at most, in bytes.

    While the guest runs its disk may be readable by QEMU's user only.
    """
    size = parts.on_domain(uuid, lambda domain: domains.disk_size(domain, source))
    bases = parts.on_domain(uuid, lambda domain: source_xml.bases(domain.XMLDesc(), source))
    kind = disks.kind(source)
    if not bases and parts.state(uuid) not in ACTIVE:
        bases = kind.bases(source)
    return size, min(size, kind.allocated(source) + sum(map(files.allocated, bases)))


def _back_up(
    parts: Parts, uuid: str, source: Source, size: int, wish: Quiesce, deadline: float
) -> bool:
    """Have the emulator copy a disk; False if the guest stopped meanwhile."""
    copy = _copy(parts, uuid).path
    # Made by us: libvirt gives it back to its owner in the end.
    with files.new_file(copy) as new:
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(new), str(size)]
        tools.run(argv, tools.limits(parts.conf))
    with parts.connection.watch(uuid) as watch:
        with quiesce.quiesced(parts, uuid, wish):
            begun = parts.on_domain(uuid, functools.partial(_begin, source=source, target=copy))
        if not begun:
            return False
        return _wait(parts, uuid, watch, deadline)


def _begin(domain: libvirt.virDomain, source: Source, target: Path) -> bool:
    """Begin to copy; False if the guest has stopped."""
    try:
        device = source_xml.device(domain.XMLDesc(), source)
        if device is None:
            raise exceptions.SnapshotFailed(
                f"guest {domain.name()!r} has no disk {source.address} now"
            )
        job = backup.push(device, target)
        domain.backupBegin(job, None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
    except libvirt.libvirtError:
        if domain.isActive():
            raise
        return False
    return True


def _wait(parts: Parts, uuid: str, watch: events.Watch, deadline: float) -> bool:
    """Return when the copy is whole; False if the guest stopped meanwhile.

    :raises SnapshotFailed: if the emulator fails.
    :raises OperationTimeout: if it takes too long.
    """
    failure: str | None = None
    while failure is None:
        event = watch.wait({events.JOB_ENDED, events.STOPPED}, deadline)
        if event is not None and event.kind == events.JOB_ENDED:
            if event.detail == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
                failure = event.failure
            continue
        if parts.state(uuid) not in ACTIVE:
            return False
        if event is None:
            if time.monotonic() >= deadline:
                raise exceptions.OperationTimeout(
                    f"the disk of guest {uuid} was not copied in time; option [hypervisor]"
                    " snapshot_timeout grants more"
                )
            failure = parts.on_domain(uuid, _outcome)  # the connection was lost, and events with it
    if not failure:
        concurrency.within(deadline, parts.on_domain, uuid, _settle)
        return True
    watch.wait({events.STOPPED}, time.monotonic() + _STOP_SECONDS)
    if parts.state(uuid) not in ACTIVE:
        return False
    full = "No space left on device" in failure
    kind = exceptions.NotEnoughSpace if full else exceptions.SnapshotFailed
    raise kind(f"the disk of guest {uuid} could not be copied: {failure}")


def _outcome(domain: libvirt.virDomain) -> str | None:
    """Return why the last job has failed, empty if it has not, None if it goes on."""
    if domain.jobStats().get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE:
        return None
    return events.job_failure(domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED))


def _settle(domain: libvirt.virDomain) -> None:
    """Return when libvirt has closed the files of a job whose end it has told of.

    It tells first, but answers no question about the emulator before (seen with 9.0).
    """
    domains.unless_stopped(domain.memoryStats)


def _aborted(parts: Parts, uuid: str, deadline: float) -> bool:
    """Have the emulator end its copy; false if it makes none, or hangs."""
    answers: list[bool] = []
    concurrency.within(deadline, lambda: answers.append(parts.on_domain(uuid, _abort)))
    return any(answers)


def _abort(domain: libvirt.virDomain) -> bool:
    """Tell the emulator to end its copy; false if it makes none."""
    try:
        domain.backupGetXMLDesc()  # else the job is none of ours
        domain.abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (
            libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
            libvirt.VIR_ERR_OPERATION_INVALID,  # it has ended just now, or the guest has
        ):
            raise
        return False
    return True


def _finish(
    parts: Parts,
    uuid: str,
    source: Source,
    target: Path,
    image_format: SnapshotFormat,
    needed: int,
    deadline: float,
) -> None:
    """Make *target* of a disk that nobody writes to."""
    copy = _copy(parts, uuid)
    if source == copy and image_format is SnapshotFormat.QCOW2 and _moved(copy.path, target):
        return
    space.require(target.parent, needed)
    with files.new_file(target, replace=False) as new:
        link = parts.directory(uuid) / _ELSEWHERE
        link.symlink_to(new)
        formats = ["-f", str(source.format), "-O", str(image_format)]
        argv = ["qemu-img", "convert", "-q", *formats, source.address, str(new)]
        left = max(1.0, deadline - time.monotonic())
        tools.run(argv, tools.limits(parts.conf), timeout=left)
    link.unlink()


def _moved(source: Path, target: Path) -> bool:
    try:
        files.move(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise exceptions.HostError(f"{target} cannot be made: {error.strerror}") from error
        return False
    return True
